"""One name for every tensor: that of the official checkpoint, whoever wrote the file.

Wan is published under two sets of names. The official one (blocks.0.self_attn.q.weight) is what ComfyUI loads; the
other is that of diffusers' WanTransformer3DModel (blocks.0.attn1.to_q.weight), under which SteadyDancer's own tensors
keep their names. Either may stand behind a prefix that says which part of a larger file it is.
"""

import re
from collections.abc import Iterable, Mapping

# Checkpoint name -> module name: nn.MultiheadAttention keeps its joint projection as bare parameters, ours is a layer.
RENAMED = {"cross_attn.in_proj_": "cross_attn.in_proj."}
COMFY_PREFIX = "model.diffusion_model."
# What tells where the transformer's names begin; the second also stands in picture encoders, so a block must be there.
MARKS = ("condition_embedding_spatial.conv.weight", "patch_embedding.weight")
FIRST_BLOCK = re.compile(r"blocks\.0\.")
DIFFUSERS_MARK = "condition_embedder."
OUTSIDE = {
    "condition_embedder.time_embedder.linear_1": "time_embedding.0",
    "condition_embedder.time_embedder.linear_2": "time_embedding.2",
    "condition_embedder.time_proj": "time_projection.1",
    "condition_embedder.text_embedder.linear_1": "text_embedding.0",
    "condition_embedder.text_embedder.linear_2": "text_embedding.2",
    "condition_embedder.image_embedder.norm1": "img_emb.proj.0",
    "condition_embedder.image_embedder.ff.net.0.proj": "img_emb.proj.1",
    "condition_embedder.image_embedder.ff.net.2": "img_emb.proj.3",
    "condition_embedder.image_embedder.norm2": "img_emb.proj.4",
    "proj_out": "head.head",
    "scale_shift_table": "head.modulation",
}
ATTENTION = {"to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "o", "norm_q": "norm_q", "norm_k": "norm_k"}
IMAGE_ATTENTION = {"add_k_proj": "k_img", "add_v_proj": "v_img", "norm_added_k": "norm_k_img"}
IN_BLOCK = {
    **{f"attn1.{theirs}": f"self_attn.{ours}" for theirs, ours in ATTENTION.items()},
    **{f"attn2.{theirs}": f"cross_attn.{ours}" for theirs, ours in (ATTENTION | IMAGE_ATTENTION).items()},
    "norm2": "norm3",
    "ffn.net.0.proj": "ffn.0",
    "ffn.net.2": "ffn.2",
    "scale_shift_table": "modulation",
}
LONGEST = max(name.count(".") + 1 for table in (OUTSIDE, IN_BLOCK) for name in table)  # of their names, in parts


def prefix_of(names: Iterable[str]) -> str:
    """Return what stands before the names of the transformer's tensors, "" if nothing does, whatever their order.

    Of two transformers (one may be a training's average) ComfyUI's counts, else that with the shorter prefix.
    """
    names = list(names)
    before_a_block = {name[: found.start()] for name in names for found in FIRST_BLOCK.finditer(name)}
    for mark in MARKS:
        before = {name.partition(mark)[0] for name in names if mark in name}
        found = [prefix for prefix in before & before_a_block if not prefix or prefix.endswith(".")]
        if found:
            return min(found, key=lambda prefix: (prefix != COMFY_PREFIX, len(prefix), prefix))
    return ""


def is_diffusers(names: Iterable[str]) -> bool:
    """Return whether the names are those of diffusers."""
    return any(DIFFUSERS_MARK in name for name in names)


def official_names(names: Iterable[str]) -> dict[str, str]:
    """Return the official name of each of the transformer's tensors in a file, in the order of the file."""
    names = list(names)
    prefix = prefix_of(names)
    inside = {name: name.removeprefix(prefix) for name in names if name.startswith(prefix)}
    diffusers = is_diffusers(inside)
    found = {}
    for place, name in inside.items():
        if diffusers and name.startswith("blocks."):
            index, _, rest = name.removeprefix("blocks.").partition(".")
            name = f"blocks.{index}.{_renamed(rest, IN_BLOCK)}"
        elif diffusers:
            name = _renamed(name, OUTSIDE)
        for official, ours in RENAMED.items():
            name = name.replace(ours, official)
        found[place] = name
    return found


def _renamed(name: str, table: Mapping[str, str]) -> str:
    """Rename the layer and keep what follows, be it weight, bias, a scale or nothing."""
    parts = name.split(".")
    for length in range(min(len(parts), LONGEST), 0, -1):
        ours = table.get(".".join(parts[:length]))
        if ours:
            return ".".join([ours, *parts[length:]])
    return name
