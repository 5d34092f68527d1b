"""Conversion of the miniature from every kind of file to every precision: values, sizes, memory, refusals."""

import hashlib
import json
import weakref
from functools import cache

import comfy.sd
import numpy as np
import pytest
import torch
from comfy.quant_ops import TensorWiseINT8Layout
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from steadydancer_pack.media.byte_size import size_text
from steadydancer_pack.miniature.weights import steadydancer_state_dict
from steadydancer_pack.steadydancer_core.sampling.guidance import PoseGuidance
from steadydancer_pack.steadydancer_core.sampling.run import make_guider, sample
from steadydancer_pack.steadydancer_core.weights import checkpoint, convert, convert_plan, detection, weight_formats
from steadydancer_pack.steadydancer_core.weights.convert_plan import PRECISIONS, target_dtype
from steadydancer_pack.steadydancer_core.weights.convrot import group_size, hadamard, note, rotate
from steadydancer_pack.steadydancer_core.weights.weight_source import open_weights
from steadydancer_pack.tests import model_files as files

E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2
MATRIX, NOTE = "blocks.1.ffn.0.weight", "blocks.1.ffn.0.comfy_quant"
OUTER = "time_projection.1.weight"
POSE = "condition_embedding_align.cross_attn.in_proj_weight"
# Relative error of one guided step against the source's own values: mantissas of 10, 7 and 3 bits, and int8 by rows.
BOUNDS = {"keep": 0.0, "fp16": 2e-3, "bf16": 1e-2, "fp8_scaled": 0.05, "int8_convrot": 0.05}
SAYINGS = ("scale_weight", "weight_scale", "scale_input", "input_scale", "comfy_quant", "scaled_fp8")


@cache
def made_up(dtype):
    return steadydancer_state_dict(dtype=dtype)


def weights(dtype=torch.float32):
    """Return the miniature's made-up weights. The tensors are shared: a test clones what it changes."""
    return dict(made_up(dtype))


def as_json(entry):
    return torch.tensor(list(json.dumps(entry).encode()), dtype=torch.uint8)


def old_scaled():
    found = files.older_marker(weights())
    layers = [name.removesuffix("scale_weight") for name in found if name.endswith("scale_weight")]
    return found | {f"{layer}scale_input": torch.tensor(1.0) for layer in layers}


def per_layer(dtype=E4M3):
    """Return a file of the per-layer format whose scales have a dimension."""
    found = files.per_layer(weights())
    for layer in [name.removesuffix(".weight_scale") for name in found if name.endswith("weight_scale")]:
        scale = weights()[f"{layer}.weight"].abs().max().reshape(1) / torch.finfo(dtype).max
        found[f"{layer}.weight"] = (weights()[f"{layer}.weight"] / scale).to(dtype)
        found[f"{layer}.weight_scale"] = scale
        found[f"{layer}.comfy_quant"] = as_json({"format": str(dtype).removeprefix("torch.")})
    return found


def write_one(folder, tensors, metadata=None):
    save_file(tensors, folder / "source.safetensors", metadata)
    return folder / "source.safetensors"


def listed(folder):
    found = files.scaled(weights(), files.in_blocks, "weight_scale")
    return write_one(folder, found, {**files.layer_metadata(found), "author": "me"})


SOURCES = {
    "fp32": lambda folder: write_one(folder, weights(), {"modelspec.hash_sha256": "0"}),
    "fp16": lambda folder: write_one(folder, weights(torch.float16)),
    "bf16": lambda folder: write_one(folder, weights(torch.bfloat16)),
    "shards": lambda folder: files.write_shards(folder, weights()).parent,
    "fp8 without scales": lambda folder: write_one(folder, weights(E4M3)),
    "fp8 scaled, old": lambda folder: write_one(folder, old_scaled()),
    "fp8 scaled": lambda folder: write_one(folder, per_layer()),
    "fp8 e5m2 scaled": lambda folder: write_one(folder, per_layer(E5M2)),
    "fp8 scaled by metadata": listed,
    "prefix": lambda folder: write_one(folder, files.prefixed(weights())),
    "diffusers": lambda folder: write_one(folder, files.diffusers(weights())),
    "diffusers, fp8 scaled": lambda folder: write_one(folder, files.diffusers(per_layer())),
}


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    detection.register()
    found = {}
    for name, write in SOURCES.items():
        folder = tmp_path_factory.mktemp("source")
        found[name] = write(folder)
    return found


def values(tensors):
    """Return the true values of a file in upstream's names, in float64; those of int8 are still rotated."""
    scaled = {name: t for name, t in tensors.items() if name.endswith(("scale_weight", "weight_scale"))}
    scales = {f"{name.rpartition('.')[0]}.weight": scale.double() for name, scale in scaled.items()}
    return {name: t.double() * scales.get(name, 1.0) for name, t in tensors.items() if not name.endswith(SAYINGS)}


VALUES = {
    "fp16": lambda: values(weights(torch.float16)),
    "bf16": lambda: values(weights(torch.bfloat16)),
    "fp8 without scales": lambda: values(weights(E4M3)),
    "fp8 scaled, old": lambda: values(old_scaled()),
    **dict.fromkeys(("fp8 scaled", "fp8 scaled by metadata", "diffusers, fp8 scaled"), lambda: values(per_layer())),
    "fp8 e5m2 scaled": lambda: values(per_layer(E5M2)),
}


def expected(source):
    return VALUES.get(source, lambda: values(weights()))()


def run(path, target, precision, **options):
    return convert.convert(open_weights(path), target, precision, **options)


def rounding(tensor, stored, scale):
    """Return the largest error that the dtype of a stored tensor allows each value, after a first one in float32."""
    info = torch.finfo(stored.dtype)
    return (1 + 1e-3) * torch.maximum(tensor.abs() * info.eps / 2, scale * info.smallest_normal * info.eps / 2)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("source", SOURCES)
def test_every_source_becomes_every_precision(paths, source, precision, tmp_path):
    written = run(paths[source], tmp_path / "out.safetensors", precision)
    assert written.sha256 == hashlib.sha256(written.path.read_bytes()).hexdigest()
    found, want = load_file(written.path), expected(source)
    true = values(found)
    assert true.keys() == want.keys()
    for name, tensor in want.items():
        stored, layer = found[name], name.removesuffix(".weight")
        exact_fp8 = source.startswith(("fp8", "diffusers, fp8")) and stored.dtype in (E4M3, E5M2)
        if stored.dtype == torch.int8:
            want_rotated = rotate(tensor.float(), hadamard(group_size(tensor.shape[1])))
            assert ((true[name] - want_rotated).abs() <= 0.501 * found[f"{layer}.weight_scale"]).all(), name
        elif precision == "keep" or exact_fp8 or stored.dtype == torch.float32:
            assert torch.equal(true[name].float(), tensor.float()), name
        else:
            scale = found.get(f"{layer}.weight_scale", torch.tensor(1.0)).double()
            assert ((true[name] - tensor).abs() <= rounding(tensor, stored, scale)).all(), name
        if precision != "keep" and not exact_fp8:
            assert stored.dtype == target_dtype(name, tuple(stored.shape), PRECISIONS[precision]), name


@torch.inference_mode()
def one_step(path, conds, inputs, lora=None):
    model = comfy.sd.load_diffusion_model(str(path), model_options={})
    if lora:
        model, _ = comfy.sd.load_lora_for_models(model, None, lora, 1.0, 0.0)
    guider = make_guider(model, *conds, text_guidance=5.0, guidance=PoseGuidance(1.0, 0.0, 0.9))
    return sample(guider, inputs.empty(), 0, "official euler", "official", 2)["samples"]


RUNS = [(source, precision) for source in ("fp32", "fp8 scaled, old") for precision in PRECISIONS]
RUNS += [(source, "fp8_scaled") for source in SOURCES if source.startswith(("fp8 e5m2", "fp8 scaled by", "diffusers"))]


@pytest.mark.parametrize(("source", "precision"), RUNS)
def test_the_stock_loader_takes_the_result(paths, source, precision, tmp_path, conds, inputs):
    save_file({name: t.float() for name, t in expected(source).items()}, tmp_path / "true.safetensors")
    want = one_step(tmp_path / "true.safetensors", conds, inputs)
    found = one_step(run(paths[source], tmp_path / "out.safetensors", precision).path, conds, inputs)
    error = ((found - want).norm() / want.norm()).item()
    print(f"{source} -> {precision}: {error:.1e}")  # noqa: T201
    assert error <= BOUNDS[precision]


def test_a_lora_acts_on_int8_as_on_the_source(paths, tmp_path, conds, inputs):
    draw = torch.Generator().manual_seed(0)
    layer = f"diffusion_model.{MATRIX.removesuffix('.weight')}"
    shapes = {"lora_A": (4, 128), "lora_B": (256, 4)}
    lora = {f"{layer}.{part}.weight": torch.randn(shape, generator=draw) for part, shape in shapes.items()}
    int8 = run(paths["fp32"], tmp_path / "out.safetensors", "int8_convrot").path
    plain, want = (one_step(paths["fp32"], conds, inputs, added) for added in (None, lora))
    found = one_step(int8, conds, inputs, lora)
    assert (found - want).norm() <= 0.05 * want.norm() < 0.5 * (want - plain).norm()


def test_only_the_matrices_of_the_blocks_are_fp8_and_what_is_small_is_exact(paths, tmp_path):
    found = load_file(run(paths["fp16"], tmp_path / "out.safetensors", "fp8_scaled").path)
    names = {dtype: {name for name, t in found.items() if t.dtype == dtype} for dtype in (E4M3, torch.float16)}
    parts = ["ffn.0", "ffn.2", *(f"self_attn.{x}" for x in "qkvo")]
    parts += [f"cross_attn.{x}" for x in ("q", "k", "v", "o", "k_img", "v_img")]
    assert names[E4M3] == {f"blocks.{block}.{part}.weight" for block in (0, 1) for part in parts}
    outer = ("text_embedding.0", "text_embedding.2", "time_embedding.0", "time_embedding.2", "time_projection.1")
    outer += ("img_emb.proj.1", "img_emb.proj.3", "head.head")
    assert names[torch.float16] == {f"{layer}.weight" for layer in outer}
    assert {found[name].dtype for name in checkpoint.pose_tensor_names()} == {torch.float32}


def test_the_per_layer_format_is_that_of_comfyui(paths, tmp_path):
    written = run(paths["fp32"], tmp_path / "out.safetensors", "fp8_scaled")
    found = load_file(written.path)
    scale = found[f"{MATRIX}_scale"]
    assert scale.dtype == torch.float32 and scale.shape == () and np.log2(scale.item()) % 1 == 0
    assert scale / 2 < weights()[MATRIX].abs().max() / 448 <= scale
    entry = json.loads(found[NOTE].numpy().tobytes())
    assert entry == {"format": "float8_e4m3fn", "full_precision_matrix_mult": True}
    loaded = comfy.sd.load_diffusion_model(str(written.path)).model.diffusion_model.blocks[1].ffn[0]
    assert torch.equal(loaded.weight.dequantize(), (found[MATRIX].float() * scale).to(loaded.weight.dtype))


def test_int8_is_comfy_kitchens_convrot(paths, tmp_path):
    errors = {}
    path = run(paths["fp32"], tmp_path / "out.safetensors", "int8_convrot", errors=errors).path
    found, true = load_file(path), weights()[MATRIX]
    assert true.shape == (256, 128) and group_size(128) == 64
    assert json.loads(found[NOTE].numpy().tobytes()) == note(128)
    stored, params = TensorWiseINT8Layout.quantize(true, per_channel=True, convrot=True, convrot_groupsize=64)
    torch.testing.assert_close(found[f"{MATRIX}_scale"], params.scale, rtol=1e-6, atol=0)
    different = (found[MATRIX].int() - stored.int()).abs()
    assert different.max() <= 1 and (different > 0).float().mean() < 1e-3  # sums in another order
    layer = comfy.sd.load_diffusion_model(str(path)).model.diffusion_model.blocks[1].ffn[0]
    assert (layer.weight._layout_cls, layer.weight._params.convrot_groupsize) == ("TensorWiseINT8Layout", 64)
    undone = rotate(found[MATRIX].float() * found[f"{MATRIX}_scale"], hadamard(64))
    torch.testing.assert_close(layer.weight.dequantize().float(), undone, rtol=2e-2, atol=1e-3)
    assert (undone - true).norm() / true.norm() == pytest.approx(errors["blocks.1.ffn.0"], rel=1e-3)
    lines = convert.report(open_weights(paths["fp32"]), convert.Written(path, 0, "", 0), errors).splitlines()
    assert lines[-1].startswith("Relative error of the 24 int8 layers written: 0.") and len(errors) == 24
    assert weight_formats.precision(weight_formats.look_into(path)) == "int8 ConvRot scaled (per layer)"


@pytest.mark.parametrize(("columns", "size"), [(5120, 256), (13824, 256), (1536, 256), (192, 64), (12, 4), (6, 1)])
def test_groups_of_the_rotation(columns, size):
    assert group_size(columns) == size
    matrix = torch.randn(3, columns, generator=torch.Generator().manual_seed(0))
    rotated = rotate(matrix, hadamard(size))
    torch.testing.assert_close(rotate(rotated, hadamard(size)), matrix, rtol=0, atol=1e-5)
    torch.testing.assert_close(rotated.norm(dim=1), matrix.norm(dim=1), rtol=1e-5, atol=0)
    outlier = torch.zeros(1, columns)
    outlier[0, 0] = 1
    assert rotate(outlier, hadamard(size)).abs().max() == pytest.approx(size**-0.5)


def test_what_an_old_file_says_of_its_layers_is_kept(paths, tmp_path):
    for precision in ("keep", "fp8_scaled"):
        found = load_file(run(paths["fp8 scaled, old"], tmp_path / f"{precision}.safetensors", precision).path)
        entry = json.loads(found[NOTE].numpy().tobytes())
        assert entry == {"format": "float8_e4m3fn", "full_precision_matrix_mult": True}
        assert found["blocks.1.ffn.0.input_scale"] == 1 and "scaled_fp8" not in found
        assert torch.equal(found[MATRIX].view(torch.uint8), old_scaled()[MATRIX].view(torch.uint8))


@pytest.mark.parametrize(
    ("largest", "scale"),
    [(448, 1), (449, 2), (0.0, 1), (1e-9, 2**-14), (448 * 2**-13, 2**-13), (0.1, 2**-12), (60000, 256)],
)
def test_power_of_two_scale(largest, scale):
    assert convert_plan.power_of_two_scale(largest) == scale


def test_a_convolution_with_a_scale_is_dequantized(tmp_path):
    """ComfyUI's stock loader would take it without its scale."""
    tensors = old_scaled()
    for name in ("patch_embedding.weight", POSE):
        tensors[name] = (tensors[name].float() * 100).to(E4M3)
        tensors[name.removesuffix("weight") + "scale_weight"] = torch.tensor(0.01)
    path = write_one(tmp_path, tensors)
    for precision in PRECISIONS:
        found = load_file(run(path, tmp_path / f"{precision}.safetensors", precision).path)
        name = "patch_embedding.weight"
        assert torch.equal(found[name], tensors[name].float() * 0.01)
        assert f"{name}_scale" not in found and "patch_embedding.comfy_quant" not in found


class Watched:
    """A source that knows how many of the tensors it gave out are still in memory."""

    def __init__(self, source):
        self.source, self.given, self.most = source, [], 0

    def __getattr__(self, name):
        return getattr(self.source, name)

    def read(self, name):
        array = self.source.read(name).view(-1).view(torch.uint8).numpy().copy()
        self.given.append(weakref.ref(array))
        self.most = max(self.most, sum(ref() is not None for ref in self.given))
        info = self.tensors[name]
        return torch.from_numpy(array).view(info.dtype).reshape(info.shape)


@pytest.mark.parametrize("source", ["shards", "fp8 scaled"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_one_tensor_is_in_memory_at_a_time(paths, source, precision, tmp_path):
    watched = Watched(open_weights(paths[source]))
    convert.convert(watched, tmp_path / "out.safetensors", precision)
    assert len(watched.given) >= 129
    assert watched.most <= (2 if source == "fp8 scaled" else 1)  # a scale beside its weight


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_size_of_the_parts_does_not_matter(paths, precision, tmp_path, monkeypatch):
    whole = run(paths["fp32"], tmp_path / "whole.safetensors", precision)
    monkeypatch.setattr(convert_plan, "PART_ELEMENTS", 5000)
    assert run(paths["fp32"], tmp_path / "parts.safetensors", precision).sha256 == whole.sha256


class Stop(BaseException):
    """Stands for the user who stops the run."""


def stop_at(part):
    def progress(done, total):
        if done >= part * total:
            raise Stop

    return progress


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_stopped_conversion_goes_on_to_the_same_file(paths, precision, tmp_path):
    whole = run(paths["shards"], tmp_path / "whole.safetensors", precision)
    target = tmp_path / "model.safetensors"
    for part in (0.2, 0.5, 0.9):
        with pytest.raises(Stop):
            run(paths["shards"], target, precision, progress=stop_at(part))
        assert not target.exists()
    written = run(paths["shards"], target, precision)
    assert written.kept > 0.5 * whole.nbytes and written.sha256 == whole.sha256
    assert target.read_bytes() == whole.path.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.safetensors", "whole.safetensors"]
    assert f"{size_text(written.kept)} of it were there" in convert.report(open_weights(paths["shards"]), written)


def test_another_precision_or_source_starts_anew(paths, tmp_path):
    for source, precision in (("fp32", "bf16"), ("fp16", "fp16")):
        target = tmp_path / f"{source}.safetensors"
        with pytest.raises(Stop):
            run(paths["fp32"], target, "fp16", progress=stop_at(0.5))
        assert run(paths[source], target, precision).kept == 0


def with_value(name, value):
    tensors = weights()
    tensors[name] = tensors[name].clone()
    tensors[name][-1, -1] = value
    return tensors


@pytest.mark.parametrize(
    ("name", "value", "precision", "message"),
    [
        (MATRIX, 7e4, "fp16", rf"{MATRIX} has values up to 70000, above 65504, .* float16 holds. Choose bf16"),
        (OUTER, -7e4, "fp8_scaled", rf"{OUTER} has values up to 70000, above 65504"),
        (MATRIX, float("nan"), "bf16", f"{MATRIX} holds NaN or infinity: the source is damaged"),
        (MATRIX, float("nan"), "fp8_scaled", f"{MATRIX} holds NaN or infinity"),
        (MATRIX, float("inf"), "int8_convrot", f"{MATRIX} holds NaN or infinity"),
    ],
)
def test_values_that_do_not_fit_are_refused(name, value, precision, message, tmp_path):
    path = write_one(tmp_path, with_value(name, value))
    with pytest.raises(ValueError, match=message):
        run(path, tmp_path / "out.safetensors", precision)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("name", "precision"), [(MATRIX, "fp8_scaled"), (MATRIX, "bf16"), (POSE, "fp16")])
def test_values_that_fit_elsewhere_are_taken(name, precision, tmp_path):
    path = write_one(tmp_path, with_value(name, 2.0**17))
    assert values(load_file(run(path, tmp_path / "out.safetensors", precision).path))[name][-1, -1] == 2.0**17


def test_a_file_that_is_there_is_replaced_only_if_asked(paths, tmp_path):
    target = tmp_path / "out.safetensors"
    target.write_bytes(b"mine")
    with pytest.raises(ValueError, match="out.safetensors is there already"):
        run(paths["fp16"], target, "keep")
    assert target.read_bytes() == b"mine"
    run(paths["fp16"], target, "keep", overwrite=True)
    assert load_file(target).keys() == weights().keys()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("source.safetensors", "is the source itself, which is never overwritten"),
        ("link.safetensors", "is the source itself"),
        ("model.gguf", "must be called something.safetensors; 'model.gguf' is not"),
        ("no/model.safetensors", "no for model.safetensors is not there"),
        ("folder.safetensors", "is there already"),
        (f"{'x' * 230}.safetensors", "is too long by 1 bytes"),  # with .part.json.new
    ],
)
def test_targets_that_cannot_be(tmp_path, name, message):
    path = write_one(tmp_path, weights(torch.float16))
    (tmp_path / "link.safetensors").symlink_to(path)
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(ValueError, match=message):
        run(path, tmp_path / name, "fp16", overwrite=True)


def changed(name, tensor):
    return {**per_layer(), name: tensor}


BAD_SOURCES = {
    "plain Wan": ({"head.modulation": torch.zeros(1)}, "plain Wan text-to-video model, not SteadyDancer"),
    "cut": ({k: v for k, v in weights(torch.float16).items() if "bn1" not in k}, "2 of 42 pose tensors are missing"),
    "int8": ({**weights(torch.float16), MATRIX: torch.zeros(256, 128).char()}, f"{MATRIX} as torch.int8, which cannot"),
    "nvfp4": (
        {**weights(torch.float16), NOTE: as_json({"format": "nvfp4"})},
        f"{MATRIX} as nvfp4, which cannot be converted. Convert the fp16",
    ),
    "scale by row": (changed(f"{MATRIX}_scale", torch.ones(256)), f"{MATRIX} as float8_e4m3fn with a scale of shape"),
    "no JSON": (changed(NOTE, torch.zeros(5).byte()), f"{NOTE} is not readable JSON"),
    "deep JSON": (changed(NOTE, torch.tensor(list(b"[" * 4096)).byte()), f"{NOTE} is not readable JSON"),
    "a long note": (changed(NOTE, torch.zeros(4097).byte()), f"{NOTE} is longer than 4096 bytes"),
    "two names": (
        files.diffusers(weights(torch.float16)) | {"head.modulation": torch.zeros(1, 2, 128).half()},
        "has two tensors for one place: .*head.modulation",
    ),
    "no table": (changed(NOTE, as_json([])), "comfy_quant is not a table"),
}


@pytest.mark.parametrize("case", BAD_SOURCES)
def test_bad_sources_are_refused_before_anything_is_written(case, tmp_path):
    tensors, message = BAD_SOURCES[case]
    path = write_one(tmp_path, tensors)
    with pytest.raises(ValueError, match=message):
        run(path, tmp_path / "out.safetensors", "fp16")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("text", ["[", "[]", '{"layers": [1]}', '{"layers": {"blocks.1.ffn.0": 1}}', "[" * 100_000])
def test_metadata_that_cannot_be_read_is_named(tmp_path, text):
    path = write_one(tmp_path, weights(torch.float16), {"_quantization_metadata": text})
    with pytest.raises(ValueError, match="is damaged: its metadata _quantization_metadata cannot be read"):
        run(path, tmp_path / "out.safetensors", "fp16")


def test_keep_copies_what_it_does_not_understand(tmp_path):
    own = {MATRIX: torch.arange(256 * 64).reshape(256, 64).byte(), f"{MATRIX}_scale": torch.ones(256, 8).to(E4M3)}
    own[f"{MATRIX}_scale_2"] = torch.tensor(0.5)
    table = json.dumps({"layers": {"blocks.1.ffn.0": {"format": "nvfp4"}}})
    path = write_one(tmp_path, {**weights(torch.float16), **own}, {"_quantization_metadata": table})
    found = load_file(run(path, tmp_path / "out.safetensors", "keep").path)
    for name, tensor in own.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name].view(-1).view(torch.uint8), tensor.view(-1).view(torch.uint8))
    assert json.loads(found[NOTE].numpy().tobytes()) == {"format": "nvfp4"}


def test_metadata_stays_but_not_what_is_no_longer_true(paths, tmp_path):
    for source, mine in (("fp8 scaled by metadata", {"author": "me"}), ("fp32", {})):
        written = run(paths[source], tmp_path / f"{source}.safetensors", "fp16")
        with safe_open(written.path, "pt") as file:
            assert file.metadata() == {"format": "pt", "steadydancer_precision": "fp16", **mine}


def test_the_report_tells_sizes_precisions_and_the_hash(paths, tmp_path):
    written = run(paths["fp32"], tmp_path / "out.safetensors", "fp8_scaled")
    lines = convert.report(open_weights(paths["fp32"]), written).splitlines()
    assert lines[0] == "source.safetensors: 10.5 MB, 129 tensors (129 F32)"
    assert lines[1] == "out.safetensors: 5.18 MB, 177 tensors (121 F32, 24 F8_E4M3, 24 U8, 8 F16)"
    assert lines[2:] == [f"sha256 {hashlib.sha256(written.path.read_bytes()).hexdigest()}"]


def test_of_a_whole_checkpoint_the_transformer_alone_is_converted(tmp_path):
    others = {
        "clip_vision.vision_model.embeddings.patch_embedding.weight": torch.zeros(4, 3, 2, 2),
        "first_stage_model.decoder.middle.0.residual.0.gamma": torch.zeros(4),
    }
    save_file({**others, **files.prefixed(weights(torch.float16))}, tmp_path / "all.safetensors")
    save_file(weights(torch.float16), tmp_path / "alone.safetensors")
    for name in ("all", "alone"):
        run(tmp_path / f"{name}.safetensors", tmp_path / f"{name} fp8.safetensors", "fp8_scaled")
    assert (tmp_path / "all fp8.safetensors").read_bytes() == (tmp_path / "alone fp8.safetensors").read_bytes()
