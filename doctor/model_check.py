"""Whether the files that the workflows need are there, in the folders where the loaders look, and of the right kind."""

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
        MODEL,
        "diffusion_models",
        "Wan21_I2V_SteadyDancer_fp16.safetensors",
        "Kijai/WanVideo_comfy on Hugging Face, folder SteadyDancer",
        "only the miniature can be run",
    ),
    Need(VAE, "vae", "wan_2.1_vae.safetensors", REPACKAGED, "pictures cannot become latents, nor latents videos"),
    Need(
        CLIP_VISION,
        "clip_vision",
        "clip_vision_h.safetensors",
        REPACKAGED,
        "the 14B model needs its features of photo and pose",
    ),
    Need(
        TEXT,
        "text_encoders",
        "umt5_xxl_fp8_e4m3fn_scaled.safetensors",
        REPACKAGED,
        "prompts can only come from Load Prompt Embeddings",
    ),
)
HOMES = {  # where ComfyUI looks for what is often put among diffusion models
    "a LoRA": "loras",
    "a Wan 2.1 VAE": "vae",
    "a Wan VAE": "vae",
    "a CLIP vision model": "clip_vision",
    "CLIP-H vision": "clip_vision",
    "a text encoder": "text_encoders",
    "UMT5-XXL": "text_encoders",
    "prompt embeddings": "prompt_embeddings",
}
DIFFUSION = ("diffusion_models", "unet_gguf")


def check_models(files: Sequence[ModelFile], reads_gguf: bool, supports_fp8: bool) -> list[Finding]:
    """Return findings about all files of SteadyDancer, what is missing beside them, and files in wrong places."""
    present = [file for file in files if file.kind != LOST]
    known = filter(None, (_check_file(file, reads_gguf, supports_fp8) for file in present))
    missing = [_missing(need, present) for need in NEEDS if not files_of(present, need.role)]
    fix = "Put the file back where the link points, or delete the link, and press R."
    links = (f"models/{file.folder}/{file.name}" for file in files if file.kind == LOST)
    lost = [Finding(WARNING, f"{link} is {LOST}.", fix) for link in links]
    miniature = Finding(OK, "The miniature is there, for the workflows as they open.")
    if not files_of(present, MINIATURE):
        what = "The miniature, with which the workflows open, is missing."
        miniature = Finding(NOTE, what, "Install the pack again.")
    return [*known, *missing, *lost, miniature, *_misplaced(present), *_others(present)]


def _check_file(file: ModelFile, reads_gguf: bool, supports_fp8: bool) -> Finding | None:
    """Return whether a file that the workflows need, or that should be one, can be loaded; None for other files."""
    if file.fault is not None:
        return of_error(PROBLEM, file.fault, f"In models/{file.folder}: ")
    if file.role != MODEL or file.contents is None:
        at_home = any(file.role == need.role and file.folder == need.folder for need in NEEDS)
        return Finding(OK, f"models/{file.folder}/{file.name}: {file.kind}.") if at_home else None
    if file.folder not in DIFFUSION:
        what = f"{file.kind} lies in models/{file.folder}, where Load SteadyDancer Model does not look."
        return Finding(WARNING, what, "Move it to models/diffusion_models and press R.")
    if file.name.lower().endswith(GGUF_SUFFIX) and not reads_gguf:
        what = f"{file.kind}: ComfyUI reads GGUF files with the pack ComfyUI-GGUF, which is not installed."
        fix = "Install ComfyUI-GGUF through ComfyUI-Manager and restart, or use a .safetensors file."
        return Finding(PROBLEM, what, fix)
    inside = [] if supports_fp8 else fp8_inside(file.contents)
    if inside:
        what = f"{file.kind}: this device cannot hold its layers in {', '.join(inside)}."
        return Finding(WARNING, what, "Use an fp16, bf16 or GGUF file.")
    if precision(file.contents).startswith("fp8") and not supports_fp8:
        fix = "Set weight_precision of Load SteadyDancer Model to fp16, at twice the memory, or use a GGUF file."
        return Finding(WARNING, f"{file.kind}: this device cannot hold fp8 numbers.", fix)
    return Finding(OK, f"models/{file.folder}/{file.kind}.")


def _missing(need: Need, files: Sequence[ModelFile]) -> Finding:
    others = [file for file in files if file.folder == need.folder and file.role == OTHER and need.role != MODEL]
    source = f"{need.file} from {need.source}, into models/{need.folder}, and press R."
    unread = [file for file in others if file.unread]
    if unread:  # a pickle may be what is needed: Wan's own VAE is one, and ComfyUI loads it
        what = f"Whether {need.role} is in models/{need.folder} is unknown: {_listed(unread)}."
        fix = f"If it is {need.role}, and ComfyUI loads it, all is well; if not, download {source}"
        return Finding(NOTE, what, fix)
    level = PROBLEM if files_of(files, MODEL) else WARNING
    if need.role == TEXT and files_of(files, PROMPT):
        level = NOTE
    found = f" Found instead: {_listed(others)}." if others else ""
    what = f"{need.role[0].upper()}{need.role[1:]} is not in models/{need.folder}: {need.without}.{found}"
    return Finding(level, what, f"Download {source}")


def _misplaced(files: Sequence[ModelFile]) -> list[Finding]:
    """Return a finding for each file named SteadyDancer that is another model, or that lies in the wrong folder."""
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
    """Return one line about the other files that Load SteadyDancer Model lists and would refuse."""
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
