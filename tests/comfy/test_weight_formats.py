"""The table of formats: every kind of file is recognized, loaded, and computes what its precision allows.

u is the largest relative error that a format's rounding makes of a single weight. A typical weight is off by 0.4 u
(uniform rounding, uniform mantissa) and the errors of different weights are independent, so that a layer's output is
off by about as much; the layers of the miniature in a row measure 0.5 to 1.3 u. The bound is 2 u, on the relative error
of one forward pass against the same weights in float32.

    format      u        why                                                             measured
    fp32        0        nothing is rounded                                              0
    fp16        2^-11    10 bits of mantissa, half a step                                1.07 u; GGUF 0.83 u
    bf16        2^-8     7 bits of mantissa                                              1.05 u
    fp8 e4m3fn  2^-4     3 bits of mantissa; a scale moves values and rounds nothing     1.31 u; scaled blocks 0.47 u
    fp8 e5m2    2^-3     2 bits of mantissa                                              1.26 u
    Q8_0        1/127    half a step, 1/254 of the block's largest weight, which is      0.87 u
                         twice a typical one
"""

import json
import weakref
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import comfy.model_management
import comfy.quant_ops
import comfy.sd
import folder_paths
import pytest
import torch
from safetensors.torch import save_file

from steadydancer_pack.benchmarks.golden_model import GoldenInputs
from steadydancer_pack.miniature.weights import steadydancer_state_dict
from steadydancer_pack.nodes.common.steadydancer_files import model_files
from steadydancer_pack.nodes.model import PRECISIONS, LoadModel
from steadydancer_pack.steadydancer_core.weights import detection
from steadydancer_pack.steadydancer_core.weights.lazy_weights import SMALL
from steadydancer_pack.steadydancer_core.weights.loading import load_model
from steadydancer_pack.steadydancer_core.weights.weight_source import SafetensorsSource
from steadydancer_pack.tests import model_files as files
from steadydancer_pack.tests.comfy.test_model import arguments, relative_error, run

U = {"fp32": 0.0, "fp16": 2**-11, "bf16": 2**-8, "e4m3": 2**-4, "e5m2": 2**-3, "Q8_0": 1 / 127}


class Case(NamedTuple):
    """write: makes the file in a folder from float32 weights; report: what is said of it, at least; u as above."""

    write: Callable[[Path, dict], Path]
    report: str
    u: float


def single(change, metadata=lambda weights: None):
    def write(models_folder, weights):
        changed = change(weights)
        save_file(changed, models_folder / "model.safetensors", metadata(changed))
        return models_folder / "model.safetensors"

    return write


def to(dtype):
    return lambda weights: files.cast(weights, dtype)


def half(change):
    return lambda weights: change(files.cast(weights, torch.float16))


def shards(change):
    return lambda models_folder, weights: files.write_shards(models_folder / "SteadyDancer", change(weights))


def gguf(kind, **facts):
    return lambda models_folder, weights: files.write_gguf(models_folder / "model.gguf", weights, kind, facts)


def everything(weights):
    """As converters do that scale each tensor of more than one dimension, convolutions of the pose stage included."""
    return files.older_marker(weights, files.anything)


CASES = {
    "fp32": Case(single(to(torch.float32)), "fp32, 129 tensors in 1 file, 10.5 MB", U["fp32"]),
    "fp16": Case(single(to(torch.float16)), "fp16, 129 tensors in 1 file, 5.25 MB", U["fp16"]),
    "bf16": Case(single(to(torch.bfloat16)), "bf16, 129 tensors in 1 file", U["bf16"]),
    "fp8 older marker": Case(single(files.older_marker), "fp8 e4m3fn scaled (older marker), 154 tensors", U["e4m3"]),
    "fp8 older marker, everything": Case(single(everything), "fp8 e4m3fn scaled (older marker)", U["e4m3"]),
    "fp8 per layer": Case(single(files.per_layer), "fp8 e4m3fn scaled (per layer), 177 tensors", U["e4m3"]),
    "fp8 per layer, metadata": Case(
        single(lambda w: files.scaled(w, files.in_blocks, "weight_scale"), files.layer_metadata),
        "fp8 e4m3fn scaled (per layer), 153 tensors",
        U["e4m3"],
    ),
    "fp8 e4m3fn": Case(single(to(torch.float8_e4m3fn)), "fp8 e4m3fn, not scaled, 129 tensors", U["e4m3"]),
    "fp8 e5m2": Case(single(to(torch.float8_e5m2)), "fp8 e5m2, not scaled, 129 tensors", U["e5m2"]),
    "shards fp32": Case(shards(to(torch.float32)), "fp32, 129 tensors in 3 files", U["fp32"]),
    "shards bf16": Case(shards(to(torch.bfloat16)), "bf16, 129 tensors in 3 files", U["bf16"]),
    "diffusers fp16": Case(
        single(half(files.diffusers)), "fp16, 129 tensors in 1 file, 5.25 MB, diffusers names", U["fp16"]
    ),
    "diffusers shards": Case(
        shards(files.diffusers), "fp32, 129 tensors in 3 files, 10.5 MB, diffusers names", U["fp32"]
    ),
    "diffusers fp8 per layer, metadata": Case(
        single(lambda w: files.diffusers(files.scaled(w, files.in_blocks, "weight_scale")), files.layer_metadata),
        "fp8 e4m3fn scaled (per layer), 153 tensors in 1 file, 4.79 MB, diffusers names",
        U["e4m3"],
    ),
    "prefix fp16": Case(
        single(half(files.prefixed)),
        "fp16, 129 tensors in 1 file, 5.25 MB, names begin with model.diffusion_model.",
        U["fp16"],
    ),
    "prefix fp8 older marker": Case(
        single(lambda w: files.prefixed(files.older_marker(w))), "fp8 e4m3fn scaled (older marker)", U["e4m3"]
    ),
    "GGUF F16": Case(gguf("F16"), "GGUF F16, 129 tensors in 1 file", U["fp16"]),
    "GGUF Q8_0": Case(gguf("Q8_0", **{"general.file_type": 7}), "GGUF Q8_0, 129 tensors in 1 file", U["Q8_0"]),
}


class UnetLoaderGGUF:
    """Stands for ComfyUI-GGUF's loader: finds the file as that does and multiplies its blocks out."""

    FUNCTION = "load_unet"

    def load_unet(self, unet_name):
        weights = files.read_gguf(Path(folder_paths.get_full_path("unet", unet_name)))
        return (comfy.sd.load_diffusion_model_state_dict(weights, model_options={"dtype": torch.float32}),)


@pytest.fixture
def gguf_pack(monkeypatch):
    import nodes

    monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, "UnetLoaderGGUF", UnetLoaderGGUF)


@pytest.fixture(scope="module")
def weights():
    detection.register()
    return steadydancer_state_dict()


def one_pass(model):
    return run(model, arguments(GoldenInputs()))


@pytest.fixture(scope="module")
def reference(weights):
    return one_pass(comfy.sd.load_diffusion_model_state_dict(dict(weights), model_options={"dtype": torch.float32}))


@pytest.mark.parametrize("case", CASES)
def test_every_format(case, weights, reference, models_folder, gguf_pack):
    name = str(CASES[case].write(models_folder, weights).relative_to(models_folder))
    assert model_files() == [name]
    model, report = LoadModel.execute(name, "default").result
    assert report.startswith(f"{Path(name).name}: SteadyDancer with 2 blocks of width 128, {CASES[case].report}")
    error = relative_error(one_pass(model), reference)
    print(f"{case}: {error:.2e} is {error / (CASES[case].u or 1):.2f} u")  # noqa: T201
    assert error <= 2 * CASES[case].u


STOCK = [name for name in CASES if "shards" not in name and "diffusers" not in name and "GGUF" not in name]


@pytest.mark.parametrize("case", STOCK)
def test_the_stock_loader_computes_the_same(case, weights, models_folder):
    path = CASES[case].write(models_folder, weights)
    ours = LoadModel.execute(path.name, "default").result[0]
    assert torch.equal(one_pass(comfy.sd.load_diffusion_model(str(path))), one_pass(ours))


@pytest.mark.parametrize("case", ["fp8 older marker, everything", "diffusers fp8 per layer, metadata", "shards bf16"])
def test_comfyui_can_load_it_again(case, weights, models_folder):
    """As it does for a model without dynamic VRAM and for one on a second GPU."""
    path = CASES[case].write(models_folder, weights)
    model = LoadModel.execute(str(path.relative_to(models_folder)), "default").result[0]
    load, args = model.cached_patcher_init
    assert torch.equal(one_pass(load(*args, disable_dynamic=True)), one_pass(model))


@pytest.mark.parametrize("case", ["fp16", "shards bf16"])
def test_never_more_than_a_part_is_read_beside_the_model(case, models_folder, monkeypatch):
    weights = steadydancer_state_dict(dim=256, ffn_dim=512, layers=8)
    path, alive, peak, read = CASES[case].write(models_folder, weights), {}, [0], SafetensorsSource.read

    def counted(source, name):
        tensor = read(source, name)
        alive[name] = tensor.nbytes
        weakref.finalize(tensor, alive.pop, name)
        peak[0] = max(peak[0], sum(alive.values()))
        return tensor

    monkeypatch.setattr(SafetensorsSource, "read", counted)
    load_model(path)
    parts = Counter()
    for name, tensor in weights.items():
        size = tensor.nbytes // 2
        part = ".".join(name.split(".")[: 2 if name.startswith("blocks.") else 1])
        parts["small" if size <= SMALL else part] += size
    largest = max(parts.values())
    assert not alive
    assert largest <= peak[0] <= largest + parts["small"] < sum(parts.values()) / 3


def fp8_tensors(model):
    return [name for name, tensor in model.model.state_dict().items() if tensor.dtype == torch.float8_e4m3fn]


@pytest.fixture
def no_fp8(monkeypatch):
    """A device that holds no fp8, as Apple's."""
    monkeypatch.setattr(comfy.model_management, "supports_cast", lambda device, dtype: dtype.itemsize > 1)


@pytest.mark.parametrize("case", ["fp8 older marker", "fp8 per layer, metadata", "fp8 e4m3fn"])
def test_fp8_on_a_device_without_it(case, weights, reference, models_folder, no_fp8):
    CASES[case].write(models_folder, weights)
    with pytest.raises(ValueError, match="holds fp8 weights, and the device cpu cannot. Set weight_precision to fp16"):
        LoadModel.execute("model.safetensors", "default")
    with pytest.raises(ValueError, match="weight_precision is fp8, but the device cpu cannot"):
        LoadModel.execute("model.safetensors", "fp8_e4m3fn")
    model = LoadModel.execute("model.safetensors", "fp32").result[0]
    assert not fp8_tensors(model)
    assert relative_error(one_pass(model), reference) <= 2 * CASES[case].u


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("case", ["fp8 older marker", "fp8 per layer", "fp8 e4m3fn"])
def test_every_precision_of_an_fp8_file(case, precision, weights, reference, models_folder):
    CASES[case].write(models_folder, weights)
    model = LoadModel.execute("model.safetensors", precision).result[0]
    assert relative_error(one_pass(model), reference) <= 2 * max(U["e4m3"], U["e5m2"] if "e5m2" in precision else 0)


def to_int8(weights, path, but=()):
    """Write the blocks' matrices as int8 that only the metadata tells of, those whose names hold `but` as fp8."""
    out, layers = {}, {}
    for name, weight in weights.items():
        layer = name.removesuffix(".weight")
        if not (name.endswith(".weight") and files.in_blocks(name, weight)):
            out[name] = weight
        elif any(part in name for part in but):
            out[name], out[f"{layer}.weight_scale"] = files.to_fp8(weight)
            layers[layer] = {"format": "float8_e4m3fn"}
        else:
            scale = weight.abs().max() / 127
            out[name], out[f"{layer}.weight_scale"] = (weight / scale).round().to(torch.int8), scale
            layers[layer] = {"format": "int8_tensorwise"}
    save_file(out, path, {"_quantization_metadata": json.dumps({"format_version": "1.0", "layers": layers})})


@pytest.mark.parametrize(
    ("precision", "fp8", "bound"), [("default", (), 0.05), ("fp32", (), 0.05), ("fp32", (".ffn.",), 2 * U["e4m3"])]
)
def test_int8_told_by_the_metadata_stays_int8_without_fp8(
    precision, fp8, bound, weights, reference, models_folder, no_fp8
):
    to_int8(weights, models_folder / "model.safetensors", fp8)
    model = LoadModel.execute("model.safetensors", precision).result[0]
    assert not fp8_tensors(model)
    assert relative_error(one_pass(model), reference) <= bound


@pytest.mark.parametrize("precision", ["default", "fp16"])
@pytest.mark.parametrize("kind", ["nvfp4", "mxfp8"])
def test_layers_with_fp8_inside_are_refused_without_fp8(kind, precision, weights, models_folder, no_fp8, monkeypatch):
    monkeypatch.setitem(comfy.quant_ops.QUANT_ALGOS, kind, {})  # not every ComfyUI knows both
    table = json.dumps({"format_version": "1.0", "layers": {"blocks.0.self_attn.q": {"format": kind}}})
    save_file(weights, models_folder / "model.safetensors", {"_quantization_metadata": table})
    with pytest.raises(ValueError, match=f"holds layers as {kind}, and the device cpu cannot. Choose an fp16, bf16"):
        LoadModel.execute("model.safetensors", precision)


def test_a_prefix_of_a_whole_checkpoint_hides_nothing(weights, models_folder):
    extra = {"first_stage_model.decoder.weight": torch.zeros(3), **files.prefixed(weights)}
    save_file(extra, models_folder / "all.safetensors")
    model = LoadModel.execute("all.safetensors", "default").result[0]
    assert len(model.model.diffusion_model.state_dict()) == 129


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "net.", "dit.", "unet.", "pipe.dit."])
def test_a_prefix_of_any_training_program_is_taken_off(prefix, weights, reference, models_folder):
    save_file(files.prefixed(weights, prefix), models_folder / "model.safetensors")
    model, report = LoadModel.execute("model.safetensors", "default").result
    assert f"names begin with {prefix}\n" in report
    assert torch.equal(one_pass(model), reference)
