"""What artists do wrong, as they do it: files of another kind, and changes to the graph of a page by node title."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image
from playwright.sync_api import Page
from safetensors.torch import load_file, save_file

from steadydancer_pack.tests.model_files import unscaled
from steadydancer_pack.training.network import SHIPPED_SIZE

Act = Callable[[Page], None]
MODEL = "steadydancer_miniature.safetensors"
OF_THE_POSE = ("condition_embedding_", "patch_embedding_")
CLIP_L = {  # as much of one as tells ComfyUI what it is
    **{f"vision_model.encoder.layers.{layer}.layer_norm1.weight": torch.ones(1024) for layer in (0, 22)},
    "vision_model.embeddings.position_embedding.weight": torch.zeros(257, 1024),
}
# What CUDA raises when a card is full. There is none here, so a node stands for the card.
FULL_CARD = """
import torch
from comfy.patcher_extension import WrappersMP


def full(executor, *args, **kwargs):
    raise torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.64 GiB of which 1.20 GiB is "
        "free. Including non-PyTorch memory, this process has 22.10 GiB memory in use. If reserved but unallocated "
        "memory is large try setting PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation."
    )


class FullCard:
    CATEGORY, FUNCTION, RETURN_TYPES, RETURN_NAMES = "test", "fill", ("MODEL",), ("model",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",)}}

    def fill(self, model):
        model = model.clone()
        model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "full_card", full)
        return (model,)


NODE_CLASS_MAPPINGS = {"FullCard": FullCard}
"""
CHOOSE = """([title, values]) => {
    const node = window.app.graph.nodes.find(n => n.title === title || n.type === title);
    for (const [name, value] of Object.entries(values)) {
        const widget = node.widgets.find(w => w.name === name);
        widget.value = value;
        widget.callback?.(value);
    }
}"""
CUT = """([title, name]) => {
    const node = window.app.graph.nodes.find(n => n.title === title);
    node.disconnectInput(node.inputs.findIndex(i => i.name === name));
}"""
REMOVE = "title => window.app.graph.remove(window.app.graph.nodes.find(n => n.title === title))"
LINK = """([from, output, to, input]) => {
    const [source, target] = [from, to].map(title => window.app.graph.nodes.find(n => n.title === title));
    const slot = (slots, name) => slots.findIndex(s => s.name === name);
    source.connect(slot(source.outputs, output), target, slot(target.inputs, input));
}"""
ADD = """([type, title]) => {
    const node = window.LiteGraph.createNode(type);
    node.title = title;
    window.app.graph.add(node);
}"""


def choose(title: str, **values) -> Act:
    """Give widgets of a node other values; a node of a page in another language by its type."""
    return lambda page: page.evaluate(CHOOSE, [title, values])


def cut(title: str, name: str) -> Act:
    """Take the link off an input."""
    return lambda page: page.evaluate(CUT, [title, name])


def remove(title: str) -> Act:
    """Delete a node with its links."""
    return lambda page: page.evaluate(REMOVE, title)


def link(source: str, output: str, target: str, name: str) -> Act:
    """Connect an output of one node to an input of another."""
    return lambda page: page.evaluate(LINK, [source, output, target, name])


def add(kind: str, title: str) -> Act:
    """Add a node."""
    return lambda page: page.evaluate(ADD, [kind, title])


def lead_model_through(kind: str, title: str, output: str) -> tuple[Act, ...]:
    """Add a node between the model and the sampler; `output` is its output's name."""
    model, sampler = "Load SteadyDancer Model", "SteadyDancer Sampler"
    return add(kind, title), link(model, "model", title, "model"), link(title, output, sampler, "model")


def write_full_card(base: Path) -> None:
    """Put the node that stands for a full card where ComfyUI looks when it starts."""
    (base / "custom_nodes").mkdir(parents=True)
    (base / "custom_nodes" / "full_card.py").write_text(FULL_CARD, encoding="utf-8")


def write_files(base: Path) -> None:
    """Put files that an artist may take instead beside the miniature's, under ComfyUI's folders."""
    _write_models(base / "models")
    _write_pictures(base / "input")


def _write_models(models: Path) -> None:
    whole = (models / "diffusion_models" / MODEL).read_bytes()
    (models / "diffusion_models" / "cut_off.safetensors").write_bytes(whole[:-1000])
    weights = unscaled(load_file(models / "diffusion_models" / MODEL))
    plain = {name: weight for name, weight in weights.items() if not name.startswith(OF_THE_POSE)}
    save_file(plain, models / "diffusion_models" / "plain_wan.safetensors")
    layer, width = "diffusion_model.blocks.0.self_attn.q", SHIPPED_SIZE.dim // 2
    lora = {f"{layer}.lora_down.weight": torch.ones(4, width), f"{layer}.lora_up.weight": torch.ones(width, 4)}
    save_file(lora, models / "loras" / "of_a_smaller_model.safetensors")
    save_file({"taesd_decoder.1.weight": torch.zeros(64, 4, 3, 3)}, models / "vae" / "for_images.safetensors")
    save_file(CLIP_L, models / "clip_vision" / "clip_vision_l.safetensors")


def _write_pictures(folder: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (9, 96, 96, 3), np.uint8)
    Image.fromarray(noise[0]).save(folder / "nobody.png")
    Image.fromarray(noise[0, :48]).save(folder / "wide.png")
    _write_video(folder / "nobody.mp4", noise)
    _write_video(folder / "short.mp4", noise[:5])
    _write_video(folder / "one_frame.mp4", noise[:1])


def _write_video(path: Path, frames: np.ndarray) -> None:
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=16)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        file.mux(stream.encode())
