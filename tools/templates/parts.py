"""What the workflows have in common: the subgraph *SteadyDancer*, and the six nodes that an artist sees."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from steadydancer_pack.comfy_client.in_process import PACK
from steadydancer_pack.miniature import ENLARGED, SIDE

from . import files
from .files import Model
from .graph import Graph, Node, Output, Subgraph

NEGATIVE = (PACK / "training" / "negative_prompt.txt").read_text("utf-8").strip()
EXTRACT, DRAW = "SteadyDancerExtractPoses", "SteadyDancerDrawPoses"
POSES, CHUNKS = "SteadyDancerAnimateFromVideo", "SteadyDancerChunkSampler"
SAMPLER, RECONCILE = "SteadyDancerSampler", "SteadyDancerReconcileConditions"
VIDEO, SAMPLE, TRIM = "SteadyDancerVideoCombine", "SteadyDancerMiniatureSample", "SteadyDancerTrimLeadIn"
PROMPT = (
    "A person dances. The whole body is seen, the camera stands still, the background stays as it is. Sharp, natural "
    "light."
)
PEOPLE = (
    "Two people dance. Their whole bodies are seen, the camera stands still, the background stays as it is. Sharp, "
    "natural light."
)
COLUMNS = 0, 315, 600, 1155, 1505  # px: note, photo and video, poses, SteadyDancer, the finished video
POSE_SIZE, VIDEO_SIZE = (520, 900), (280, 900)
MINIATURE, TOY_TITLE = "steadydancer_miniature", "Miniature: drawn characters only"
TOY = {"size": "custom", "size.width": SIDE, "size.height": SIDE, "max_frames": 33, "seed": 1234}
TOY_STEPS = {"preset": "Custom", "preset.steps": 12, "preset.text_guidance": 1.0}
TILES = {"tile_size": 256, "overlap": 64, "temporal_size": 64, "temporal_overlap": 8}
LENGTH = "length in frames"
LARGER = {"upscale_method": "bicubic", "scale_by": float(ENLARGED)}


class Setup(NamedTuple):
    """What one template has in its subgraph that others have not."""

    model: Model
    text_encoder: Model
    preset: str
    prompt: str = PROMPT
    precision: str = "default"
    lora: Model | None = None
    low_vram: bool = False
    pose_guidance: bool = True
    chunks: bool = False


def large_model(outer: Graph, setup: Setup) -> Subgraph:
    """Return the subgraph with the 14B files: loaders, prompts, conditions, sampler, decoder."""
    inside = Subgraph(
        outer, "SteadyDancer",
        "Photo and poses to the finished video: loads the model, encodes the prompts, samples and decodes. Its size is "
        f"that of the poses, its length {'that too' if setup.chunks else 'up to 81 frames'}.",
    )  # fmt: skip
    return _with_large_model(inside, setup, None)


def image_to_video(outer: Graph, setup: Setup) -> Subgraph:
    """Return the subgraph *SteadyDancer* with the pose node in it: from photo and driving video to the frames."""
    inside = Subgraph(
        outer, "Image to Video (SteadyDancer)",
        "Photo and driving video to the finished frames, up to 81 of them: finds and aligns the poses, loads the Wan "
        "2.1 model SteadyDancer, encodes the prompts, samples and decodes.",
    )  # fmt: skip
    poses = inside.add(POSES, (-800, 0), POSE_SIZE)
    inside.take("photo", (poses, "photo"))
    inside.take("video", (poses, "video"))
    return _with_large_model(inside, setup, poses)


def _with_large_model(inside: Subgraph, setup: Setup, poses: Node | None) -> Subgraph:
    """Add the 14B files' part; poses: the node that the photo and the pose frames come from, if it is inside too."""
    values = {"model_name": setup.model.name, "weight_precision": setup.precision}
    loader = inside.add("SteadyDancerLoadModel", (0, 0), (340, 180), values, models=[setup.model])
    vae = inside.add("VAELoader", (0, 260), (340, 60), {"vae_name": files.VAE.name}, models=[files.VAE])
    prompt, negative = _prompts(inside, setup)
    values = {"clip_name": files.CLIP_VISION.name}
    vision = inside.add("CLIPVisionLoader", (0, 590), (340, 60), values, models=[files.CLIP_VISION])
    model = loader["model"]
    if setup.lora:
        values = {"lora_name": setup.lora.name}
        lora = inside.add("LoraLoaderModelOnly", (420, 0), (400, 100), values, models=[setup.lora], model=model)
        model = lora["MODEL"]
    texts = {"positive": prompt["CONDITIONING"], "negative": negative["CONDITIONING"]}
    given = {**texts, "vae": vae["VAE"], "clip_vision": vision["CLIP_VISION"]}
    if setup.chunks:
        sampler = _in_chunks(inside, setup, model, given)
    else:
        conditions, sampler, frames = _in_one(inside, setup, model, given)
        _link_or_take(inside, poses, "photo", (conditions, "photo"))
        _frames_and_sound(inside, conditions, frames, sampler.data["pos"][0] + 740, poses)
    inside.promote("prompt", prompt, "text")
    if poses:
        for name, widget in (("person", "person"), ("size", "size"), (LENGTH, "max_frames")):
            inside.promote(name, poses, widget)
    inside.promote("preset", sampler, "preset")
    inside.promote("seed", sampler, "seed")
    inside.promote("model", loader, "model_name")
    if setup.lora:
        inside.promote("LoRA", lora, "lora_name")
    if setup.chunks:
        inside.promote("chunk length", sampler, "chunk_length")
    if not setup.low_vram:
        inside.promote("blocks to swap", loader, "blocks_to_swap")
    if not setup.lora:
        inside.promote("negative prompt", negative, "text")
    return inside


Made = tuple[Node, Node, Output]  # what takes photo and pose frames, the sampler, the frames


def _in_one(inside: Subgraph, setup: Setup, model: Output, given: Mapping[str, Output]) -> Made:
    """Add conditions, sampler and decoder: all frames at once."""
    conditions, vae = inside.add(RECONCILE, (900, 260), (340, 420), links=given), given["vae"]
    if setup.low_vram:
        model = _swapped(inside, model, conditions["latent"], vae)
    preset = {"preset": setup.preset} if setup.pose_guidance else {"preset": "Custom", "preset.pose_guidance": 0.0}
    names = "positive", "negative", "pose_negative", "latent"
    at = 2060 if setup.low_vram else 1300
    links = {name: conditions[name] for name in names}
    sampler = inside.add(SAMPLER, (at, 0), (350, 640), preset, links=links, model=model)
    kind, values = ("VAEDecodeTiled", TILES) if setup.low_vram else ("VAEDecode", {})
    decode = inside.add(kind, (at + 420, 0), (260, 160), values, samples=sampler["latent"], vae=vae)
    return conditions, sampler, decode["IMAGE"]


def _in_chunks(inside: Subgraph, setup: Setup, model: Output, given: Mapping[str, Output]) -> Node:
    """Add the sampler that makes a video of any length, chunk after chunk, and keeps its frames on disk."""
    values = {"preset": setup.preset, "frames_on_disk": True}
    sampler = inside.add(CHUNKS, (900, 0), (420, 940), values, links=given, model=model)
    trim = inside.add(TRIM, (1640, 0), (280, 150), video=sampler["video"])
    for name in ("photo", "poses", "negative_poses"):
        inside.take(name, (sampler, name))
    for name in ("audio", "lead_in"):
        inside.take(name, (trim, name))
    inside.give("video", trim, "video")
    inside.give("audio", trim, "audio")
    return sampler


def _prompts(inside: Subgraph, setup: Setup) -> tuple[Node, Node]:
    """Add the text encoder; return prompt and negative prompt."""
    values = {"clip_name": setup.text_encoder.name, "type": "wan"}
    clip = inside.add("CLIPLoader", (0, 400), (340, 110), values, models=[setup.text_encoder])
    values, box = {"text": setup.prompt}, (400, 160)
    prompt = inside.add("CLIPTextEncode", (420, 260), box, values, "Prompt", clip=clip["CLIP"])
    values = {"text": NEGATIVE}
    return prompt, inside.add("CLIPTextEncode", (420, 500), box, values, "Negative prompt", clip=clip["CLIP"])


def _swapped(inside: Subgraph, model: Output, latent: Output, vae: Output) -> Output:
    """Return the model with as many blocks in system RAM as the video needs."""
    check = inside.add("SteadyDancerFitReport", (1300, -300), (340, 200), model=model, latent=latent, vae=vae)
    blocks = check["blocks_to_swap"]
    swap = "SteadyDancerBlocksToSwap"
    return inside.add(swap, (1700, -300), (300, 90), model=check["model"], blocks_to_swap=blocks)["model"]


class Small(NamedTuple):
    """The nodes that load the miniature."""

    model: Node
    vae: Node
    positive: Node
    negative: Node


def load_miniature(graph: Graph, x: int, y: int, width: int) -> Small:
    """Add the loaders of the miniature one below the other."""
    box, prompt = (width, 60), "SteadyDancerLoadPromptEmbeddings"
    values = {"model_name": f"{MINIATURE}.safetensors", "weight_precision": "fp16"}
    model = graph.add("SteadyDancerLoadModel", (x, y), (width, 180), values)
    vae = graph.add("VAELoader", (x, y + 240), box, {"vae_name": f"{MINIATURE}_vae.safetensors"})
    files_ = ({"file": f"{MINIATURE}_{which}.safetensors"} for which in ("positive", "negative"))
    positive = graph.add(prompt, (x, y + 360), box, next(files_), "Prompt")
    return Small(model, vae, positive, graph.add(prompt, (x, y + 480), box, next(files_), "Negative prompt"))


def sample_small(
    graph: Graph, small: Small, at: tuple, width: int, size: Mapping[str, int] = {}
) -> tuple[Node, Node, Node, Node]:
    """Add conditions, sampler, decoder and enlargement for the miniature, and return them.

    at: x of each of them. size: of the video, where the pose frames do not say it.
    """
    vae, model = small.vae["VAE"], small.model["model"]
    conditions = graph.add(
        RECONCILE, (at[0], 30), (width, 420), {"length": 33, **size},
        positive=small.positive["conditioning"], negative=small.negative["conditioning"], vae=vae,
    )  # fmt: skip
    sampler = graph.add(
        SAMPLER, (at[1], 30), (width, 640), TOY_STEPS, model=model, positive=conditions["positive"],
        negative=conditions["negative"], pose_negative=conditions["pose_negative"], latent=conditions["latent"],
    )  # fmt: skip
    decode = graph.add("VAEDecode", (at[2], 30), (240, 60), samples=sampler["latent"], vae=vae)
    larger = graph.add("ImageScaleBy", (at[3], 30), (240, 90), LARGER, "Enlarge 4 times", image=decode["IMAGE"])
    return conditions, sampler, decode, larger


def miniature(outer: Graph) -> Subgraph:
    """Return the subgraph with the bundled model, which knows drawn characters only."""
    inside = Subgraph(
        outer, TOY_TITLE,
        "The bundled miniature of SteadyDancer: it knows drawn characters of 96x96 pixels and no real photos.",
    )  # fmt: skip
    small = load_miniature(inside, 0, 30, 340)
    conditions, sampler, _, frames = sample_small(inside, small, (420, 820, 1230, 1530), 340)
    inside.take("photo", (conditions, "photo"))
    _frames_and_sound(inside, conditions, frames["IMAGE"], 1840)
    inside.promote("seed", sampler, "seed")
    inside.promote("steps", sampler, "preset.steps")
    return inside


def _link_or_take(inside: Subgraph, poses: Node | None, name: str, *targets: tuple[Node, str]) -> None:
    """Link the output of the pose node to the targets; without one, an input of the subgraph."""
    if poses is None:
        inside.take(name, *targets)
        return
    for node, entry in targets:
        inside.link(poses[name], node, entry)


def _frames_and_sound(inside: Subgraph, conditions: Node, frames: Output, at: int, inner: Node | None = None) -> None:
    """Let the lead-in be taken off the frames, and off the pose frames that are shown beside them.

    inner: the pose node, if it is inside too.
    """
    trim = inside.add(TRIM, (at, 0), (280, 150), images=frames)
    poses = inside.add(TRIM, (at, 260), (280, 150), title="Trim the pose frames too")
    _link_or_take(inside, inner, "pose_frames", (conditions, "pose_frames"), (poses, "images"))
    _link_or_take(inside, inner, "negative_frames", (conditions, "pose_negative_frames"))
    _link_or_take(inside, inner, "audio", (trim, "audio"))
    _link_or_take(inside, inner, "lead_in", (trim, "lead_in"), (poses, "lead_in"))
    inside.give("images", trim, "images")
    inside.give("audio", trim, "audio")
    inside.give("pose_frames", poses, "images")


class Sources(NamedTuple):
    """Photo and driving video, and the widgets that choose them, for App mode."""

    photo: Output
    video: Output
    fields: Sequence[tuple[Node, str, str]] = ()


def loaders(graph: Graph) -> Sources:
    """Return photo and driving video of the loaders, which hold no file yet."""
    photo = graph.add("LoadImage", (COLUMNS[1], 30), (245, 340), {"image": ""}, "Photo")
    video = graph.add("LoadVideo", (COLUMNS[1], 460), (245, 470), {"file": ""}, "Driving video")
    return Sources(photo["IMAGE"], video["VIDEO"], [(photo, "image", "photo"), (video, "file", "driving video")])


def sample(graph: Graph) -> Sources:
    """Return photo and driving video of the bundled sample."""
    node = graph.add(SAMPLE, (COLUMNS[1], 30), (245, 420))
    return Sources(node["photo"], node["driving_video"])


def six_nodes(
    graph: Graph,
    sources: Sources,
    poses: Mapping[str, Any],
    inside: Subgraph,
    height: int,
    on_disk: bool = False,
) -> None:
    """Add the pose node, the node of the subgraph, and the finished video; the note and the loaders are there.

    on_disk: the subgraph takes poses and gives a video whose frames are on disk.
    """
    photo, video, fields = sources
    dance = graph.add(POSES, (COLUMNS[2], 30), POSE_SIZE, poses, photo=photo, video=video)
    drawn = ("poses", "negative_poses") if on_disk else ("pose_frames", "negative_frames")
    names = "photo", *drawn, "audio", "lead_in"
    node = graph.enter(inside, (COLUMNS[3], 30), (315, height), {name: dance[name] for name in names})
    if on_disk:
        outputs = {"images": node["video"], "audio": node["audio"]}
    else:
        outputs = {name: node[name] for name in ("images", "audio", "pose_frames")}
    finished = graph.add(VIDEO, (COLUMNS[4], 30), VIDEO_SIZE, links=outputs)
    if fields:
        of_the_node = [(node, "text", ""), *of_the_dance(dance)]
    else:  # the miniature takes no prompt, and one size only
        of_the_node = [(node, "preset.steps", ""), (dance, "max_frames", LENGTH)]
    graph.app_mode([*fields, *of_the_node, (node, "seed", "")], finished)


def of_the_dance(dance: Node) -> list[tuple[Node, str, str]]:
    """Return what App mode shows of a pose node: the person, the size and the length."""
    return [(dance, "person", ""), (dance, "size", ""), (dance, "max_frames", LENGTH)]
