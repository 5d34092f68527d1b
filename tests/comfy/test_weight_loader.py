"""Load SteadyDancer Model: what it lists, what it hands on."""

import json

import comfy.utils
import pytest
import torch
from safetensors.torch import load_file, save_file

from steadydancer_pack.miniature.weights import steadydancer_shapes, steadydancer_state_dict
from steadydancer_pack.nodes.common.steadydancer_files import model_files
from steadydancer_pack.nodes.model import LoadModel
from steadydancer_pack.steadydancer_core.memory.residency import blocks_to_swap
from steadydancer_pack.steadydancer_core.weights import detection, lazy_weights
from steadydancer_pack.steadydancer_core.weights.checkpoint import check_file
from steadydancer_pack.steadydancer_core.weights.loading import load_model
from steadydancer_pack.steadydancer_core.weights.weight_formats import describe
from steadydancer_pack.steadydancer_core.weights.weight_source import SafetensorsSource
from steadydancer_pack.tests import model_files as files


@pytest.fixture(scope="module")
def weights():
    detection.register()
    return steadydancer_state_dict(dtype=torch.float16)


def touch(models_folder, *names):
    for name in names:
        (models_folder / name).parent.mkdir(parents=True, exist_ok=True)
        (models_folder / name).touch()


def test_the_list_hides_the_parts_of_a_model(models_folder):
    index, parts = "S/model.safetensors.index.json", [f"S/model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    touch(models_folder, index, *parts, "S/lone.safetensors", "a.SFT", "b.gguf", "c.pth", "S/config.json")
    touch(models_folder, "model-00001-of-00002.safetensors")
    assert model_files() == ["S/lone.safetensors", index, "a.SFT", "b.gguf", "model-00001-of-00002.safetensors"]


def test_saved_workflows_keep_their_values():
    inputs = [field.id for field in LoadModel.define_schema().inputs]
    assert inputs == ["model_name", "weight_precision", "blocks_to_swap"]


def test_the_report_is_an_output_and_shown_and_blocks_to_swap_reaches_the_model(weights, models_folder):
    save_file(weights, models_folder / "a.safetensors")
    output = LoadModel.execute("a.safetensors", "default")
    assert output.result[1].startswith("a.safetensors: SteadyDancer with 2 blocks of width 128, fp16, 129 tensors")
    assert output.ui.as_dict()["text"] == (output.result[1],)
    assert blocks_to_swap(output.result[0]) == 0
    assert blocks_to_swap(LoadModel.execute("a.safetensors", "default", 2).result[0]) == 2
    with pytest.raises(ValueError, match="blocks_to_swap is 3; this model has 2 blocks"):
        LoadModel.execute("a.safetensors", "default", 3)


@pytest.mark.parametrize("name", ["../a.safetensors", "/etc/passwd", "missing.safetensors"])
def test_only_files_in_the_folders_are_opened(models_folder, name):
    (models_folder.parent / "a.safetensors").write_bytes(b"")
    with pytest.raises(FileNotFoundError):
        LoadModel.execute(name, "default")


def test_full_size_is_called_by_its_name(models_folder):
    """Only the header is read, so that a file of holes will do."""
    offset, table = 0, {}
    for name, shape in steadydancer_shapes(5120, 13824, 40, 4096).items():
        nbytes = 2 * torch.Size(shape).numel()
        table[name] = {"dtype": "F16", "shape": shape, "data_offsets": [offset, offset + nbytes]}
        offset += nbytes
    head = json.dumps(table).encode()
    path = models_folder / "Wan21_I2V_SteadyDancer_fp16.safetensors"
    with path.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        file.truncate(8 + len(head) + offset)
    found = describe(check_file(path))
    assert found == f"{path.name}: SteadyDancer-14B, fp16, 1345 tensors in 1 file, 32.8 GB"


def test_an_unread_weight_has_no_data_by_mistake():
    weight = lazy_weights.lazy_tensor((2, 3), torch.float16, lambda: torch.ones(2, 3).half())
    assert (weight.shape, weight.dtype, weight.nelement()) == ((2, 3), torch.float16, 6)
    assert torch.equal(lazy_weights.read(weight), torch.ones(2, 3).half())
    with pytest.raises(RuntimeError, match="meta"):
        torch.zeros(2, 3).copy_(weight)


@pytest.mark.parametrize("store", [files.older_marker, files.per_layer])
def test_scaled_weights_stay_in_the_file(weights, models_folder, monkeypatch, store):
    save_file(store(weights), models_folder / "fp8.safetensors")
    read, mapped = [], []
    for done, name in ((read, "read"), (mapped, "map")):
        plain = getattr(SafetensorsSource, name)
        monkeypatch.setattr(SafetensorsSource, name, lambda self, key, d=done, p=plain: d.append(key) or p(self, key))
    model = load_model(models_folder / "fp8.safetensors").model.diffusion_model
    kept = {f"blocks.{key}" for key, weight in model.blocks.state_dict().items() if weight.dtype == files.FP8}
    assert set(mapped) == kept and len(kept) == 24
    assert not kept & set(read)


def test_dynamic_vram_gets_the_files_own_mapping(weights, models_folder, monkeypatch):
    """Stood for by a reader that counts; comfy-aimdo itself needs a GPU."""
    seen, stock = [], comfy.utils.load_torch_file
    monkeypatch.setattr(comfy.utils, "load_torch_file", lambda path: seen.append(path) or stock(path))
    index = files.write_shards(models_folder / "S", weights)
    plain = load_model(index).model.state_dict()
    assert not seen
    monkeypatch.setattr("comfy.memory_management.aimdo_enabled", True)
    monkeypatch.setattr(comfy.utils, "load_safetensors", lambda path: (load_file(path), {}))
    mapped = load_model(index).model.state_dict()
    assert [path[-26:] for path in seen] == [f"model-0000{i}-of-00003.safetensors"[-26:] for i in (1, 2, 3)]
    assert all(torch.equal(mapped[name], tensor) for name, tensor in plain.items())


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("blocks.1.ffn.0.bias", (7,), r"layers that do not fit .* blocks\.1\.ffn\.0\.bias"),
        ("patch_embedding.weight", (128, 20, 1, 2, 2), "the names of SteadyDancer, but ComfyUI does not recognize"),
    ],
)
def test_layers_that_do_not_fit_are_named(weights, models_folder, name, shape, message):
    save_file({**weights, name: torch.zeros(shape)}, models_folder / "a.safetensors")
    with pytest.raises(ValueError, match=rf"a\.safetensors has {message}"):
        load_model(models_folder / "a.safetensors")
