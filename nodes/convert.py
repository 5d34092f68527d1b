"""Convert Model: one safetensors file of a wanted precision, from a file or a folder of shards."""

from collections.abc import Callable
from pathlib import Path

import comfy.model_management
import comfy.utils
import folder_paths
from comfy_api.latest import io

from ..steadydancer_core.weights import convert
from ..steadydancer_core.weights.convert_plan import PRECISIONS
from ..steadydancer_core.weights.weight_formats import GGUF_SUFFIX
from .common.file_names import RULES, file_fault, is_file_name, path_fault, quoted
from .common.model_folders import folder_for_new
from .common.node_text import show_text
from .common.steadydancer_files import model_files

FOLDER = "diffusion_models"
BAR_STEPS = 1000


def _inputs() -> list[io.Input]:
    return [
        io.Combo.Input(
            "model_name", options=[name for name in model_files() if not name.lower().endswith(GGUF_SUFFIX)],
            tooltip="SteadyDancer in models/diffusion_models: .safetensors, or the .index.json of a sharded model.",
        ),
        io.Combo.Input(
            "precision", options=list(PRECISIONS), default="fp8_scaled",
            tooltip="fp8_scaled and int8_convrot are half the size of fp16 and bf16; int8_convrot computes in int8. "
            "'keep' only merges several files into one. Pose modules, norms and biases always keep their precision.",
        ),
        io.String.Input(
            "file_name", default="steadydancer_fp8_scaled.safetensors",
            tooltip="Name of the new file in models/diffusion_models, without a folder.",
        ),
        io.Boolean.Input(
            "overwrite", default=False,
            tooltip="Replace a file of the same name. Off: an existing file is an error. The source file is never "
            "replaced.",
        ),
    ]  # fmt: skip


class ConvertModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerConvertModel",
            display_name="SteadyDancer Convert Model",
            category="SteadyDancer/loaders",
            description=(
                "Converts a SteadyDancer model, sharded or not, to another precision and writes it as one file to "
                "models/diffusion_models. A stopped conversion resumes where it stopped."
            ),
            search_aliases=["quantize", "fp8", "merge shards", "save diffusion model"],
            is_output_node=True,
            inputs=_inputs(),
            outputs=[
                io.String.Output(display_name="file_name", tooltip="Name of the new file."),
                io.String.Output(display_name="report", tooltip="Sizes, tensors per precision, and the sha256."),
            ],
        )

    @classmethod
    def validate_inputs(cls, file_name: str | None = None) -> bool | str:
        return file_name is None or _fault(file_name) or True

    @classmethod
    def execute(cls, model_name: str, precision: str, file_name: str, overwrite: bool) -> io.NodeOutput:
        source = convert.open_source(folder_paths.get_full_path_or_raise(FOLDER, model_name))
        target = output_path(file_name)
        errors: dict[str, float] = {}
        written = convert.convert(source, target, precision, overwrite, _progress(), errors)
        text = convert.report(source, written, errors)
        shown = "\n".join(line for line in text.splitlines() if written.sha256 not in line)
        layers = [convert.error_line(*row) for row in errors.items()]
        return io.NodeOutput(target.name, "\n".join([text, *layers]), ui=show_text(text, shown=shown))


def output_path(file_name: str) -> Path:
    """Return the path of a new model file; ValueError unless `file_name` is a name and nothing else."""
    fault = _fault(file_name)
    if fault:
        raise ValueError(fault)
    return folder_for_new(FOLDER) / _with_suffix(file_name.strip())


def _fault(file_name: str) -> str:
    """Return why no file can be called `file_name`, as a message; "" if one can."""
    name = file_name.strip()
    if not is_file_name(name) or name.startswith(".") or "/" in name or "\\" in name:
        return (
            f"file_name {quoted(file_name)} is not a plain file name. Give a name such as "
            f"steadydancer_fp8_scaled.safetensors: no folder, no dot in front, {RULES}."
        )
    unfinished = _with_suffix(name) + convert.LONGEST_ENDING
    path = folder_for_new(FOLDER) / unfinished
    return file_fault("file_name", name, unfinished[len(name) :]) or path_fault("file_name", path)


def _with_suffix(name: str) -> str:
    return name if name.lower().endswith(convert.SUFFIX) else name + convert.SUFFIX


def _progress() -> Callable[[int, int], None]:
    bar = comfy.utils.ProgressBar(BAR_STEPS)

    def show(done: int, total: int) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        bar.update_absolute(BAR_STEPS * done // total, BAR_STEPS)

    return show


NODES = [ConvertModel]
