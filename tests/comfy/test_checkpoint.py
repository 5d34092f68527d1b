"""What is said of a file before it is loaded."""

import comfy.sd
import pytest
import torch
from safetensors.torch import save_file

from steadydancer_pack.miniature.weights import MINIATURE, steadydancer_state_dict
from steadydancer_pack.steadydancer_core.model.model_base import SteadyDancer
from steadydancer_pack.steadydancer_core.weights import checkpoint, detection
from steadydancer_pack.steadydancer_core.weights.clip_vision import serves_clip_vision
from steadydancer_pack.steadydancer_core.weights.loading import load_model
from steadydancer_pack.tests.model_files import prefixed

OWN = ("condition_embedding_", "patch_embedding_fuse.", "patch_embedding_ref_c.")


@pytest.fixture(scope="module")
def weights():
    return steadydancer_state_dict(dtype=torch.float16)


def write(path, tensors):
    save_file(tensors, path)
    return path


def test_42_tensors_are_steadydancers_own(weights):
    assert checkpoint.pose_tensor_names() == {name for name in weights if name.startswith(OWN)}
    assert len(checkpoint.pose_tensor_names()) == 42


def test_the_stock_loader_finds_the_same_model(weights, tmp_path):
    detection.register()
    path = write(tmp_path / "model.safetensors", weights)
    checkpoint.check_file(path)
    patcher = comfy.sd.load_diffusion_model(str(path))
    assert type(patcher.model) is SteadyDancer
    found = patcher.model.diffusion_model.state_dict()
    assert set(found) == {name.replace("in_proj_", "in_proj.") for name in weights}
    saved = patcher.model.model_config.process_unet_state_dict_for_saving(found)
    assert set(saved) == {f"model.diffusion_model.{name}" for name in weights}


def test_a_file_without_clip_vision_loads_as_one_with_zeros(weights, tmp_path):
    detection.register()
    zeros = {name: torch.zeros_like(w) if serves_clip_vision(name) else w for name, w in weights.items()}
    kept = {name: w for name, w in weights.items() if not serves_clip_vision(name)}
    assert len(weights) - len(kept) == 8 + 5 * MINIATURE["layers"]
    old, new = (write(tmp_path / f"{name}.safetensors", w) for name, w in (("old", zeros), ("new", kept)))
    checkpoint.check_file(new)
    wanted = comfy.sd.load_diffusion_model(str(old)).model.diffusion_model.state_dict()
    for load in (comfy.sd.load_diffusion_model, load_model):
        patcher = load(str(new))
        assert type(patcher.model) is SteadyDancer
        found = patcher.model.diffusion_model.state_dict()
        assert list(found) == list(wanted)
        assert [name for name in wanted if not torch.equal(found[name], wanted[name])] == []


def test_a_prefix_does_not_hide_the_model(weights, tmp_path):
    names = prefixed(weights)
    path = write(tmp_path / "model.safetensors", names)
    checkpoint.check_file(path)
    assert type(comfy.sd.load_diffusion_model(str(path)).model) is SteadyDancer
    del names["model.diffusion_model.patch_embedding_ref_c.bias"]
    with pytest.raises(ValueError, match="missing: patch_embedding_ref_c.bias"):
        checkpoint.check_file(write(path, names))


def test_registration_is_done_once():
    import comfy.supported_models

    for _ in range(3):
        detection.register()
    names = [entry.__name__ for entry in comfy.supported_models.models]
    assert names.count("SteadyDancerConfig") == 1
    assert names.index("SteadyDancerConfig") < min(map(names.index, ("WAN21_T2V", "WAN21_I2V")))


def test_plain_wan_stays_plain_wan(weights):
    detection.register()
    plain = without(*OWN)(weights)
    plain["text_embedding.0.weight"] = torch.zeros(128, 4096, dtype=torch.float16)
    assert type(comfy.sd.load_diffusion_model_state_dict(plain).model) is not SteadyDancer


def without(*parts):
    return lambda weights: {name: w for name, w in weights.items() if not any(part in name for part in parts)}


def alone(name):
    return lambda weights: {name: torch.zeros(1)}


FILES = {
    "plain I2V": (without(*OWN), "plain Wan image-to-video"),
    "plain T2V": (without(*OWN, "img_emb"), "text-to-video"),
    "LoRA": (alone("diffusion_model.blocks.0.ffn.0.lora_down.weight"), "a LoRA"),
    "VAE": (alone("decoder.middle.0.residual.0.gamma"), "a Wan VAE"),
    "nothing known": (alone("x"), "an unknown file"),
    "of another program": (
        lambda w: {f"{k}._data": v for k, v in w.items()},
        "holds its weights as quanto's int8, which only WanGP reads; ComfyUI cannot compute with them",
    ),
    "scales without a marker": (
        lambda w: w | {"blocks.0.ffn.0.weight_scale": torch.ones(())},
        "holds its weights as fp16 with scales but without the marker for them",
    ),
    "a block cut": (
        without("blocks.1.ffn.0."),
        "is SteadyDancer, but 2 tensors of its transformer are missing, such as blocks.1.ffn.0.bias, blocks.1.ffn",
    ),
    "1,001 blocks": (
        lambda w: w | {f"blocks.{i}.x": torch.zeros(1) for i in range(2, 1001)},
        "is SteadyDancer with 1001 blocks; SteadyDancer-14B has 40",
    ),
    "64 wide": (
        lambda w: w | {"patch_embedding.bias": torch.zeros(64)},
        r"patch_embedding.bias of shape \[64\]; it must be \[N\] with N a multiple of 128",
    ),
    "no image embedding": (without("img_emb"), "8 tensors of its transformer are missing, such as img_emb.proj.0.bias"),
    "two missing": (
        without("bn2"),
        r"2 of 42 pose tensors are missing: condition_embedding_spatial.bn2.bias, condition_embedding_spatial.bn2",
    ),
    "many missing": (
        without("condition_embedding_align"),
        r"pose tensors are missing: (\S+, ){2}\S+ and \d+ more\. The file was cut",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_wrong_files_are_named(weights, tmp_path, case):
    change, message = FILES[case]
    with pytest.raises(ValueError, match=message):
        checkpoint.check_file(write(tmp_path / "file.safetensors", change(weights)))


@pytest.mark.parametrize("name", ["model.pth", "model.ckpt", "model.bin", "model"])
def test_other_formats_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match="only .safetensors is loaded, because other formats can run code"):
        checkpoint.check_file(tmp_path / name)


def test_one_part_of_several_is_named_and_a_whole_model_that_is_called_a_part_loads(weights, tmp_path):
    part = {name: tensor for name, tensor in weights.items() if name.startswith("blocks.0")}
    path = write(tmp_path / "model-00001-of-00002.safetensors", part)
    with pytest.raises(ValueError, match=r"one part of a model in several files. Choose the .safetensors.index.json"):
        checkpoint.check_file(path)
    path = write(tmp_path / "model-00001-of-00001.safetensors", weights)
    assert checkpoint.check_file(path).title == path.name


@pytest.mark.parametrize(
    "text", ["{}", "[]", "x", "[" * 100_000, '{"layers": {}}', '{"layers": 3}', '{"layers": {"a": 1}}']
)
def test_unreadable_quantization_is_named(weights, tmp_path, text):
    path = tmp_path / "file.safetensors"
    save_file(weights, path, {"_quantization_metadata": text})
    with pytest.raises(ValueError, match=UNREADABLE):
        checkpoint.check_file(path)


def note(text):
    return torch.tensor(list(text)).byte()


UNREADABLE = "says that its layers are quantized, but not how"
UNREADABLE_NOTES = torch.zeros(4097).byte(), note(b"[" * 4096), torch.ones(3), -torch.ones(3).char(), note(b"[1]")
UNKNOWN = note(b'{"format": "int3_new"}'), "holds layers as int3_new, which this ComfyUI does not know. Update ComfyUI"


@pytest.mark.parametrize(("note", "message"), [*((note, UNREADABLE) for note in UNREADABLE_NOTES), UNKNOWN])
def test_an_unreadable_or_unknown_note_on_a_layer_is_named(weights, tmp_path, note, message):
    path = write(tmp_path / "file.safetensors", weights | {"blocks.0.self_attn.q.comfy_quant": note})
    with pytest.raises(ValueError, match=message):
        checkpoint.check_file(path)
