"""What the files in ComfyUI's model folders are, by their headers alone."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

from ..steadydancer_core.sampling.conditions import CLIP_NAMES, CLIP_WIDTH
from ..steadydancer_core.weights.checkpoint import check_file, kind_of, pose_tensor_names
from ..steadydancer_core.weights.weight_formats import (
    FULL_SIZE,
    GGUF_SUFFIX,
    Contents,
    block_numbers,
    describe,
    look_into,
)
from ..steadydancer_core.weights.weight_names import official_names
from ..steadydancer_core.weights.weight_source import INDEX_SUFFIX, SHARD, SUFFIXES

MODEL, MINIATURE = "SteadyDancer-14B", "the miniature"
VAE, CLIP_VISION, TEXT = "the Wan 2.1 VAE", "CLIP-H vision", "the UMT5-XXL text encoder"
PROMPT, OTHER = "prompt embeddings", ""
OUR_NAME, SMALL_NAME = "steadydancer", "miniature"
UMT5_ROWS, T5_ROWS = 256384, 32128  # vocabulary sizes
LOST = "a link that leads nowhere"
UNREADABLE = "a file that cannot be read"
UNREAD = "a {} file, which is not looked into because it can run code"
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class ModelFile:
    """A file below a model folder. folder: ComfyUI's key; name: its path from there; role: one of those above.

    kind: what it is, in words; fault: why a file of SteadyDancer cannot be loaded; contents: its header, if it can;
    unread: it was not looked into.
    """

    folder: str
    name: str
    role: str
    kind: str
    fault: Exception | None = None
    contents: Contents | None = None
    unread: bool = False


class Kind(NamedTuple):
    fits: Callable[[Shapes], bool]
    role: str
    words: str


def look_at(folder: str, name: str, path: str | Path | None) -> ModelFile:
    """Return what the file at `path` is, from its header; a file of another kind, or one that cannot be read, is OTHER.

    What is named SteadyDancer and cannot be read is a MODEL with a fault. path: None for a link whose file is gone.
    """
    if path is None:
        return ModelFile(folder, name, OTHER, LOST)
    if not name.lower().endswith((*SUFFIXES, GGUF_SUFFIX, INDEX_SUFFIX)):
        kind = UNREAD.format(PureWindowsPath(name).suffix or "nameless")
        return ModelFile(folder, name, OTHER, kind, unread=True)
    ours = OUR_NAME in name.lower()
    try:
        shapes = {tensor: tuple(entry.shape) for tensor, entry in look_into(path).tensors.items()}
    except (ValueError, OSError) as error:
        return ModelFile(folder, name, MODEL if ours else OTHER, UNREADABLE, error if ours else None)
    names = set(official_names(shapes).values())
    if pose_tensor_names() & names or (ours and SHARD.search(name)):
        try:
            contents = check_file(path)._replace(title=name)
        except ValueError as error:
            return ModelFile(folder, name, MODEL, "SteadyDancer", error)
        shapes = {ours: contents.tensors[theirs].shape for theirs, ours in contents.official.items()}
        full = (len(block_numbers(shapes)), *shapes["head.modulation"][-1:]) == FULL_SIZE
        return ModelFile(folder, name, MODEL if full else MINIATURE, describe(contents), contents=contents)
    kind = next((kind for kind in KINDS if kind.fits(shapes)), Kind(_has(), OTHER, kind_of(names)))
    if SMALL_NAME in name.lower():
        return ModelFile(folder, name, OTHER, f"{kind.words} of the miniature")
    return ModelFile(folder, name, kind.role, kind.words)


def files_of(files: Iterable[ModelFile], role: str) -> list[ModelFile]:
    """Return the files of a role that can be loaded."""
    return [file for file in files if file.role == role and file.fault is None]


def _has(*names: str) -> Callable[[Shapes], bool]:
    return lambda shapes: all(name in shapes for name in names)


def _rows(name: str, rows: int) -> Callable[[Shapes], bool]:
    return lambda shapes: shapes.get(name, ())[:1] == (rows,)


def _clip(width: int) -> Callable[[Shapes], bool]:
    """Return a test for a CLIP vision model of that width, under Hugging Face's or OpenAI's names."""
    names = ("vision_model.encoder.layers.0.layer_norm1.weight", "visual.transformer.resblocks.0.ln_1.weight")
    return lambda shapes: any(shapes.get(name) == (width,) for name in names)


WAN_22 = "decoder.upsamples.0.upsamples.0.residual.2.weight"
WAN_VAE = "decoder.middle.0.residual.0.gamma"
KINDS = (
    Kind(_has(WAN_VAE, WAN_22), OTHER, "the VAE of Wan 2.2 5B, which has another latent"),
    Kind(_has(WAN_VAE), VAE, "a Wan 2.1 VAE"),
    Kind(_clip(CLIP_WIDTH), CLIP_VISION, "CLIP-H vision"),
    *(Kind(_clip(width), OTHER, f"{name} vision") for width, name in CLIP_NAMES.items()),
    Kind(_rows("shared.weight", UMT5_ROWS), TEXT, "UMT5-XXL"),
    Kind(_rows("token_embd.weight", UMT5_ROWS), TEXT, "UMT5-XXL as GGUF"),
    Kind(_rows("shared.weight", T5_ROWS), OTHER, "T5, not UMT5"),
    Kind(_rows("token_embd.weight", T5_ROWS), OTHER, "T5 as GGUF, not UMT5"),
    Kind(
        _has("token_embedding.weight", "blocks.0.attn.q.weight"),
        OTHER,
        "UMT5 under the names of Wan's own release, which ComfyUI's Load CLIP does not know",
    ),
    Kind(_has("cond.0"), PROMPT, PROMPT),
)
