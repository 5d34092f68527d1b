"""Are the files there that the workflows need, in the folders where the loaders look, and of the right kind?"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..steadydancer_core.weights.weight_formats import GGUF_SUFFIX, fp8_inside, precision
from .findings import NOTE, OK, PROBLEM, WARNING, Finding, of_error
from .model_files import CLIP_VISION, LOST, MINIATURE, MODEL, OTHER, OUR_NAME, PROMPT, TEXT, VAE, ModelFile, files_of

NAMED = 6  # files that one line names
REPACKAGED = "Comfy-Org/Wan_2.1_ComfyUI_repackaged on Hugging Face"


class Need(NamedTuple):
    """A file that the workflows for real videos load: what it is, where it goes, and one to download."""

    role: str
    folder: str
    file: str
    source: str
    without: str


NEEDS = (
    Need(
        MODEL, "diffusion_models", "Wan21_I2V_SteadyDancer_fp16.safetensors",
        "Kijai/WanVideo_comfy on Hugging Face, folder SteadyDancer", "only the miniature can be run",
    ),
    Need(VAE, "vae", "wan_2.1_vae.safetensors", REPACKAGED, "pictures cannot become latents, nor latents videos"),
    Need(
        CLIP_VISION, "clip_vision", "clip_vision_h.safetensors", REPACKAGED, "the 14B model wants to see photo and pose"
    ),
    Need(
        TEXT, "text_encoders", "umt5_xxl_fp8_e4m3fn_scaled.safetensors", REPACKAGED,
        "prompts can only come from Load Prompt Embeddings",
    ),
)  # fmt: skip
HOMES = {  # where ComfyUI looks for what often lies among diffusion models
    "a LoRA": "loras", "a Wan 2.1 VAE": "vae", "a Wan VAE": "vae", "a CLIP vision model": "clip_vision",
    "CLIP-H vision": "clip_vision", "a text encoder": "text_encoders", "UMT5-XXL": "text_encoders",
    "prompt embeddings": "prompt_embeddings",
}  # fmt: skip
DIFFUSION = ("diffusion_models", "unet_gguf")


def check_models(files: Sequence[ModelFile], reads_gguf: bool, holds_fp8: bool) -> list[Finding]:
    """Return findings about all files of SteadyDancer, what is missing beside them, and files in wrong places.

    reads_gguf: whether ComfyUI-GGUF is installed; holds_fp8: whether the device can keep fp8 weights.
    """
    lost, files = [file for file in files if file.kind == LOST], [file for file in files if file.kind != LOST]
    known = [finding for file in files for finding in _about(file, reads_gguf, holds_fp8)]
    missing = [_missing(need, files) for need in NEEDS if not files_of(files, need.role)]
    return [*known, *missing, *map(_lost, lost), *_miniature(files), *_misplaced(files), *_others(files)]


def _lost(file: ModelFile) -> Finding:
    return Finding(
        WARNING, f"models/{file.folder}/{file.name} is {file.kind}.",
        "Put the file back where the link points, or delete the link, and press R.",
    )  # fmt: skip


def _about(file: ModelFile, reads_gguf: bool, holds_fp8: bool) -> list[Finding]:
    """Return what is to be said of a file that the workflows need, or that should be one."""
    if file.fault is not None:
        return [of_error(PROBLEM, file.fault, f"In models/{file.folder}: ")]
    if file.role == MODEL:
        return [_loadable(file, reads_gguf, holds_fp8)]
    at_home = any(file.role == need.role and file.folder == need.folder for need in NEEDS)
    return [Finding(OK, f"models/{file.folder}/{file.name}: {file.kind}.")] if at_home else []


def _loadable(file: ModelFile, reads_gguf: bool, holds_fp8: bool) -> Finding:
    if file.folder not in DIFFUSION:
        return Finding(
            WARNING, f"{file.kind} lies in models/{file.folder}, where Load SteadyDancer Model does not look.",
            "Move it to models/diffusion_models and press R.",
        )  # fmt: skip
    if file.name.lower().endswith(GGUF_SUFFIX) and not reads_gguf:
        return Finding(
            PROBLEM, f"{file.kind}: ComfyUI reads GGUF files with the pack ComfyUI-GGUF, which is not installed.",
            "Install ComfyUI-GGUF through ComfyUI-Manager and restart, or use a .safetensors file.",
        )  # fmt: skip
    inside = [] if holds_fp8 else fp8_inside(file.contents)
    if inside:
        return Finding(
            WARNING, f"{file.kind}: this device cannot hold its layers in {', '.join(inside)}.",
            "Use an fp16, bf16 or GGUF file.",
        )  # fmt: skip
    if precision(file.contents).startswith("fp8") and not holds_fp8:
        return Finding(
            WARNING, f"{file.kind}: this device cannot hold fp8 numbers.",
            "Set weight_precision of Load SteadyDancer Model to fp16, at twice the memory, or use a GGUF file.",
        )  # fmt: skip
    return Finding(OK, f"models/{file.folder}/{file.kind}.")


def _missing(need: Need, files: Sequence[ModelFile]) -> Finding:
    level = PROBLEM if files_of(files, MODEL) else WARNING
    if need.role == TEXT and files_of(files, PROMPT):
        level = NOTE
    others = [file for file in files if file.folder == need.folder and file.role == OTHER and need.role != MODEL]
    if any(file.unread for file in others):
        return _untold(need, [file for file in others if file.unread])
    found = f" Found instead: {_listed(others)}." if others else ""
    return Finding(
        level, f"{need.role[0].upper()}{need.role[1:]} is not in models/{need.folder}: {need.without}.{found}",
        f"Download {_source(need)}",
    )  # fmt: skip


def _untold(need: Need, unread: Sequence[ModelFile]) -> Finding:
    """Return the finding about a need that a pickle may meet: Wan's own VAE is one, and ComfyUI loads it."""
    return Finding(
        NOTE, f"Whether {need.role} is in models/{need.folder} cannot be told: {_listed(unread)}.",
        f"If it is {need.role}, and ComfyUI loads it, all is well; if not, download {_source(need)}",
    )  # fmt: skip


def _source(need: Need) -> str:
    return f"{need.file} from {need.source}, into models/{need.folder}, and press R."


def _miniature(files: Sequence[ModelFile]) -> list[Finding]:
    if files_of(files, MINIATURE):
        return [Finding(OK, "The miniature is there, for the workflows as they open.")]
    return [Finding(NOTE, "The miniature, with which the workflows open, is missing.", "Install the pack again.")]


def _misplaced(files: Sequence[ModelFile]) -> list[Finding]:
    """Return a finding for each file that says it is SteadyDancer and is not, or lies where it is not looked for."""
    found = []
    for file in files:
        home = HOMES.get(file.kind)
        if file.folder not in DIFFUSION or file.role in (MODEL, MINIATURE):
            continue
        if home:
            fix = f"Move it to models/{home} and press R."
            found.append(Finding(WARNING, f"models/{file.folder}/{file.name} is {file.kind}, not a model.", fix))
        elif OUR_NAME in file.name.lower():
            fix = f"Download {NEEDS[0].file} from {NEEDS[0].source}, into models/{NEEDS[0].folder}."
            found.append(Finding(WARNING, f"models/{file.folder}/{file.name} is {file.kind}, not SteadyDancer.", fix))
    return found


def _others(files: Sequence[ModelFile]) -> list[Finding]:
    """Return one line about the other files that Load SteadyDancer Model offers, and would refuse."""
    others = [file for file in files if file.folder in DIFFUSION and file.role == OTHER and file.kind not in HOMES]
    others = [file for file in others if OUR_NAME not in file.name.lower()]
    if not others:
        return []
    what = f"Not SteadyDancer, though Load SteadyDancer Model offers them: {_listed(others)}."
    return [Finding(NOTE, what, "Nothing, while other workflows need them. Choose another file in the loader.")]


def _listed(files: Iterable[ModelFile]) -> str:
    files = list(files)
    more = f", and {len(files) - NAMED} more" if len(files) > NAMED else ""
    return ", ".join(f"{file.name} ({file.kind})" for file in files[:NAMED]) + more
