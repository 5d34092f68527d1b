"""blocks_to_swap: what stays on the device never exceeds the cap, and the result does not change.

There is no GPU here. Placement is seen on the `meta` device, which takes weights but does not give them back; the rest
is seen on the CPU with streaming forced on, where a streamed layer is one that casts its weight at each use.
"""

import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.sd
import pytest
import torch
from comfy.model_patcher import ModelPatcher, ModelPatcherDynamic

from steadydancer_pack.miniature.weights import steadydancer_state_dict
from steadydancer_pack.steadydancer_core.memory import residency
from steadydancer_pack.steadydancer_core.memory.residency import blocks_to_swap, swap_blocks
from steadydancer_pack.steadydancer_core.weights import detection

BLOCKS = 4
CONFIG = {"dim": 256, "ffn_dim": 1024, "layers": BLOCKS, "text_dim": 64}
META = torch.device("meta")
EVERY_N = range(BLOCKS + 1)


class GGUFLike(ModelPatcher):
    """A patcher as ComfyUI-GGUF makes it: its clones get its own class back, whatever class they had."""

    def clone(self, *args, **kwargs):
        own, self.__class__ = self.__class__, GGUFLike
        clone = super().clone(*args, **kwargs)
        self.__class__, clone.__class__ = own, GGUFLike
        return clone


@pytest.fixture(scope="module")
def weights():
    detection.register()
    return steadydancer_state_dict(**CONFIG)


def load(weights):
    return comfy.sd.load_diffusion_model_state_dict(dict(weights), model_options={"dtype": torch.float32})


@pytest.fixture
def model(weights):
    yield load(weights)
    comfy.model_management.unload_all_models()


@pytest.fixture
def streaming(monkeypatch):
    """Stream weights on the CPU as if it were a device of its own."""
    monkeypatch.setattr(residency, "streams_weights", lambda model, device: True)


@pytest.fixture
def with_gpu(monkeypatch):
    """Let ComfyUI believe in a device with memory of its own; `meta` plays that device."""
    monkeypatch.setattr(comfy.model_management, "vram_state", comfy.model_management.VRAMState.NORMAL_VRAM)


@pytest.fixture(scope="module")
def arguments():
    """One forward pass at 3 latent frames of 4 x 6 cells."""
    draw = torch.Generator().manual_seed(0)
    latents = {"x": (1, 36, 3, 4, 6), "pose_latents": (1, 16, 3, 4, 6)}
    references = {"ref_x": (1, 36, 1, 4, 6), "ref_c": (1, 16, 1, 4, 6)}
    features = {"context": (1, 512, 64), "clip_fea": (1, 257, 1280), "clip_fea_c": (1, 257, 1280)}
    shapes = latents | features | references
    drawn = {name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}
    return drawn | {"timestep": torch.tensor([500.0])}


@torch.inference_mode()
def run(model, arguments):
    comfy.model_management.load_models_gpu([model])
    return model.model.diffusion_model(**arguments)


def lora(scale=0.01):
    """Return a LoRA file's tensors for layers that stay and layers that are streamed first."""
    draw = torch.Generator().manual_seed(1)
    tensors = {}
    layers = {"ffn.0": (1024, 256), "self_attn.q": (256, 256), "cross_attn.k_img": (256, 256)}
    for name, (rows, columns) in layers.items():
        for block in range(BLOCKS):
            key = f"diffusion_model.blocks.{block}.{name}"
            tensors[f"{key}.lora_A.weight"] = torch.randn(4, columns, generator=draw) * scale
            tensors[f"{key}.lora_B.weight"] = torch.randn(rows, 4, generator=draw)
    return tensors


def with_lora(model, strength=1.0):
    return comfy.sd.load_lora_for_models(model, None, lora(), strength, 0)[0]


def cap(model):
    return model.model_size() - residency.swapped_bytes(model, blocks_to_swap(model))


def resident_bytes(model):
    """Sum the layers that ComfyUI has put on the device."""
    layers = (m for m in model.model.modules() if getattr(m, "comfy_patched_weights", False))
    return sum(map(comfy.model_management.module_size, layers))


def streamed(model):
    return [name for name, m in model.model.named_modules() if getattr(m, "comfy_cast_weights", False)]


@pytest.mark.parametrize("blocks", EVERY_N)
def test_bytes_on_the_device_stay_under_the_cap(weights, with_gpu, blocks):
    capped = swap_blocks(load(weights), blocks)
    capped.load_device = META
    capped.partially_load(META, 1e32)
    found = sum(tensor.nbytes for tensor in capped.model.state_dict().values() if tensor.is_meta)
    assert found == capped.loaded_size() <= cap(capped)
    assert found == capped.model_size() if blocks == 0 else found > cap(capped) - capped.model_size() // 4


@pytest.mark.parametrize("blocks", EVERY_N)
def test_the_result_is_bit_identical(model, arguments, streaming, blocks):
    want = run(model, arguments)
    capped = swap_blocks(model, blocks)
    assert torch.equal(run(capped, arguments), want)
    assert bool(streamed(capped)) == bool(blocks)


def test_the_number_may_change_between_runs(model, arguments, streaming):
    want = run(model, arguments)
    for blocks in (1, 4, 0, 3, 2, 0, 4, 1):
        capped = swap_blocks(model, blocks)
        assert torch.equal(run(capped, arguments), want)
        assert capped.loaded_size() <= cap(capped)
        assert resident_bytes(capped) <= capped.loaded_size()


def test_two_clones_of_one_model_keep_their_own_number(model, arguments, streaming):
    few, many = swap_blocks(model, 1), swap_blocks(model, 3)
    for _ in range(2):
        for capped in (few, many):
            run(capped, arguments)
            assert resident_bytes(capped) == capped.loaded_size() <= cap(capped)
    assert (blocks_to_swap(few), blocks_to_swap(many), blocks_to_swap(model)) == (1, 3, 0)


def test_the_cap_is_kept_by_clones_and_lifted_by_zero(model, arguments, streaming):
    clone = swap_blocks(model, 3).clone().clone()
    run(clone, arguments)
    assert blocks_to_swap(clone) == 3 and clone.loaded_size() <= cap(clone)
    assert type(clone) is type(swap_blocks(clone, 2))
    lifted = swap_blocks(clone, 0)
    run(lifted, arguments)
    assert not streamed(lifted)


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("blocks", EVERY_N)
def test_lora_before_and_after(model, arguments, streaming, blocks, order):
    plain, want = run(model, arguments), run(with_lora(model), arguments)
    steps = [lambda m: swap_blocks(m, blocks), with_lora]
    first, second = steps if order == "after" else reversed(steps)
    capped = second(first(model))
    assert torch.allclose(run(capped, arguments), want, atol=1e-5 * want.abs().max().item())
    assert capped.loaded_size() <= cap(capped)
    assert not torch.allclose(plain, want, atol=1e-3 * want.abs().max().item())
    assert torch.equal(run(model, arguments), plain)  # the LoRA leaves the model as it was


def test_lora_strength_and_number_change_together(model, arguments, streaming):
    for strength, blocks in ((1.0, 2), (0.5, 4), (0.5, 1), (0.0, 3)):
        want = run(with_lora(model, strength), arguments)
        capped = with_lora(swap_blocks(model, blocks), strength)
        assert torch.allclose(run(capped, arguments), want, atol=1e-5 * want.abs().max().item())
        assert capped.loaded_size() <= cap(capped)


def test_unload_and_reload(model, arguments, streaming):
    want = run(model, arguments)
    capped = swap_blocks(model, 2)
    for _ in range(2):
        assert torch.equal(run(capped, arguments), want)
        before = capped.loaded_size()
        capped.partially_unload(capped.offload_device, before // 2)
        assert capped.loaded_size() <= before // 2
        assert torch.equal(run(capped, arguments), want)
        assert before // 2 < resident_bytes(capped) == capped.loaded_size() <= cap(capped)
        comfy.model_management.unload_all_models()
        assert capped.loaded_size() == 0 and not streamed(capped)


def test_a_smaller_budget_of_comfyui_still_rules(model, streaming):
    capped = swap_blocks(model, 1)
    budget = capped.model_size() // 3
    capped.partially_load(capped.load_device, budget)
    assert 0 < capped.loaded_size() <= budget < cap(capped)


def test_gguf_like_class_and_cap_survive_clones(model, arguments, streaming):
    want = run(model, arguments)
    gguf = GGUFLike.clone(model)
    clone = with_lora(swap_blocks(gguf, 2), 0.0).clone()
    assert isinstance(clone, GGUFLike) and blocks_to_swap(clone) == 2
    assert torch.equal(run(clone, arguments), want)
    assert clone.loaded_size() <= cap(clone)
    assert type(gguf) is GGUFLike and type(model) is ModelPatcher


@pytest.mark.parametrize("blocks", EVERY_N)
def test_nothing_changes_on_the_cpu(model, arguments, blocks):
    capped = swap_blocks(model, blocks)
    run(capped, arguments)
    assert capped.loaded_size() == capped.model_size() and not streamed(capped)


def test_a_number_out_of_range_and_another_model_are_refused(model):
    for blocks in (-1, 5):
        with pytest.raises(ValueError, match=f"blocks_to_swap is {blocks}; this model has 4 blocks. Choose .* 0 to 4"):
            swap_blocks(model, blocks)
    other = ModelPatcher(torch.nn.Linear(1, 1), torch.device("cpu"), torch.device("cpu"))
    with pytest.raises(ValueError, match="is Linear, not SteadyDancer"):
        swap_blocks(other, 1)


class FakePages:
    """What comfy-aimdo's ModelVBAR offers: staged allocations, and a watermark that `prioritize` lifts."""

    def __init__(self, size, device):
        self.offset, self.watermark = 0, None

    def alloc(self, size):
        self.offset += size
        return self, self.offset - size, size

    def prioritize(self):
        self.watermark = None

    def set_watermark(self, size):
        self.watermark = size

    def loaded_size(self):
        return self.offset if self.watermark is None else min(self.offset, self.watermark)


class FakeHostBuffer:
    size = 0

    def __init__(self, *_):
        pass


@pytest.fixture
def dynamic(model, with_gpu, monkeypatch):
    """Return the model as dynamic VRAM holds it, on a device without memory."""
    monkeypatch.setattr(comfy.model_patcher.comfy_aimdo.model_vbar, "ModelVBAR", FakePages)
    monkeypatch.setattr(comfy.model_patcher.comfy_aimdo.host_buffer, "HostBuffer", FakeHostBuffer)
    monkeypatch.setattr(residency, "DYNAMIC_PAGE", 1)
    listing = ModelPatcher._load_list  # raw parameters cannot come back from the meta device, so they stay
    monkeypatch.setattr(ModelPatcher, "_load_list", lambda self, for_dynamic=False, **_: listing(self, for_dynamic))
    return ModelPatcherDynamic(model.model, META, torch.device("cpu"))


def test_dynamic_loading_gets_a_watermark_at_each_load_on_a_page(dynamic, monkeypatch):
    for blocks in (1, 4, 0, 2):
        capped = with_lora(swap_blocks(dynamic, blocks)) if blocks == 2 else swap_blocks(dynamic, blocks)
        assert isinstance(capped, ModelPatcherDynamic)
        capped.partially_load(META, 1e32)
        pages, layers = capped._vbar_get(), list(capped.model.diffusion_model.blocks.modules())
        staged = sum(m._v[2] for m in layers if hasattr(m, "_v"))
        assert staged > 0
        assert pages.watermark == (pages.offset - staged * blocks // BLOCKS if blocks else None)
    monkeypatch.setattr(residency, "DYNAMIC_PAGE", 1024**2)
    capped = swap_blocks(dynamic, 1)
    capped.partially_load(META, 1e32)
    watermark = capped._vbar_get().watermark
    assert 0 < watermark <= cap(capped) and watermark % 1024**2 == 0


def test_dynamic_vram_without_a_watermark_decides_by_itself(dynamic, monkeypatch, caplog):
    monkeypatch.delattr(FakePages, "set_watermark")
    residency._say_that_comfyui_decides.cache_clear()
    capped = swap_blocks(dynamic, 2)
    for _ in range(2):
        capped.partially_load(META, 1e32)
    assert [r.message for r in caplog.records if "blocks_to_swap has no effect here" in r.message] == [
        "SteadyDancer: blocks_to_swap has no effect here; this ComfyUI's dynamic VRAM decides which weights stay. "
        "Update comfy-aimdo, or start ComfyUI with --disable-dynamic-vram."
    ]


def test_another_note_of_places_is_no_crash(dynamic, caplog):
    residency._say_that_comfyui_decides.cache_clear()
    capped = swap_blocks(dynamic, 2)
    capped.partially_load(META, 1e32)
    for layer in capped.model.modules():
        if hasattr(layer, "_v"):
            layer._v = 0
    capped._vbar_get().watermark = None
    residency._limit_pages(capped, 2)
    assert capped._vbar_get().watermark is None and "blocks_to_swap has no effect here" in caplog.text


def test_the_cap_survives_leaving_dynamic_vram(dynamic, weights):
    dynamic.cached_patcher_init = (lambda disable_dynamic: load(weights), ())
    capped = swap_blocks(dynamic, 3)
    for clone in (capped.clone(disable_dynamic=True), capped.get_non_dynamic_delegate()):
        assert not clone.is_dynamic() and blocks_to_swap(clone) == 3
        clone.load_device = META
        clone.partially_load(META, 1e32)
        assert 0 < clone.loaded_size() <= cap(clone)


def test_every_layer_with_weights_can_be_streamed(model):
    """A layer that cannot cast its weights would stay behind on the CPU; bare parameters are read with cast_to."""
    bare = {
        name.replace("diffusion_model.", "")
        for name, _ in model.model.named_parameters()
        if not hasattr(model.model.get_submodule(name.rpartition(".")[0]), "comfy_cast_weights")
    }
    norms = {f"condition_embedding_align.norm{i}.{part}" for i in (1, 2) for part in ("weight", "bias")}
    assert bare == {"head.modulation", *(f"blocks.{i}.modulation" for i in range(BLOCKS)), *norms}
