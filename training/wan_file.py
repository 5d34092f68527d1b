"""A Wan 2.1 image-to-video transformer in a file, as what a network is trained from.

Safetensors, in one file or in shards by their index, under any of the names that the pack's own loader knows: with
or without a prefix, of ComfyUI or of diffusers. Its size follows from its shapes. Nothing but headers is in memory.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from ..steadydancer_core.weights.checkpoint import kind_of
from ..steadydancer_core.weights.clip_vision import has_clip_vision, serves_clip_vision
from ..steadydancer_core.weights.weight_names import RENAMED, official_names
from ..steadydancer_core.weights.weight_source import open_weights
from .network import INPUT, POSE_PARTS, Size, add_pose, build
from .sharding import put

PRECISIONS = {torch.float32, torch.float16, torch.bfloat16}
PLAIN = "Choose the bf16 or fp16 file of Wan 2.1 I2V, for example wan2.1_i2v_720p_14B_bf16.safetensors."


class WanFile:
    """The tensors of a file by official name. ValueError: not image-to-video, or stored in 8 bits and less.

    size: the network's; pose: whether it is SteadyDancer already; shapes: by official name.
    """

    def __init__(self, path: Path):
        self._source = open_weights(path)
        self.title = self._source.title
        self._names = {official: name for name, official in official_names(self._source.tensors).items()}
        self.shapes = {official: self._source.tensors[name].shape for official, name in self._names.items()}
        self.pose = any(name.startswith(POSE_PARTS) for name in self.shapes)
        first = self.shapes.get("patch_embedding.weight")
        sees = "img_emb.proj.0.bias" in self.shapes
        if first is None or not (sees or self.pose) or first[1] != INPUT:
            raise ValueError(f"{self.title} is {kind_of(set(self.shapes))}, not Wan 2.1 image-to-video. {PLAIN}")
        coarse = {info.dtype for info in self._source.tensors.values()} - PRECISIONS
        if coarse:
            raise ValueError(f"{self.title} holds {sorted(map(str, coarse))[0]}, which is too coarse to train. {PLAIN}")
        layers = {name.split(".")[1] for name in self.shapes if name.startswith("blocks.")}
        inner, text = self.shapes["blocks.0.ffn.0.weight"], self.shapes["text_embedding.0.weight"]
        self.size = Size(first[0], inner[0], len(layers), text[1])

    def map(self, name: str) -> Tensor:
        """Return a tensor by its official name, as a view of the file."""
        return self._source.map(self._names[name])


def official(name: str) -> str:
    """Return what a checkpoint calls the tensor that a module has under `name`."""
    for theirs, ours in RENAMED.items():
        name = name.replace(ours, theirs)
    return name


@torch.no_grad()
def fill(network: nn.Module, file: WanFile, but: tuple[str, ...] = ()) -> None:
    """Give the network the file's weights, except those whose names begin with `but`; zeros for CLIP vision without it.

    Of a network that is sharded a process reads its own rows.
    ValueError: the file lacks one, has one that the network lacks, or one of another shape.
    """
    wanted = {official(name): weight for name, weight in network.named_parameters() if not name.startswith(but)}
    if not has_clip_vision(file.shapes):
        for name in list(filter(serves_clip_vision, wanted)):
            wanted.pop(name).zero_()
    for name in dict.fromkeys([*wanted, *file.shapes]):
        mine, theirs = (tuple(wanted[name].shape) if name in wanted else None), file.shapes.get(name)
        if mine != theirs:
            found, needed = (list(shape) if shape else "not there" for shape in (theirs, mine))
            raise ValueError(f"{file.title} has {name} as {found}, the network as {needed}. {PLAIN}")
    for name, weight in wanted.items():
        put(file.map(name), weight)


@torch.no_grad()
def start_pose(network: nn.Module, file: WanFile, seed: int) -> None:
    """Give the network's pose tensors the values that they start with; see network.add_pose."""
    small = build(file.size._replace(layers=0), pose=True)
    around = {name: file.map(name) for name in file.shapes if not name.startswith("blocks.")}
    add_pose(small, around, seed)
    started = dict(small.named_parameters())
    for name, weight in network.named_parameters():
        if name.startswith(POSE_PARTS):
            put(started[name], weight)
