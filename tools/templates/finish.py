"""The finish chain: more frames per second, larger if wanted, and driving video, pose and result beside each other."""

from collections.abc import Mapping
from pathlib import Path

from .graph import VIEW, Graph, Model, Node, Output, Subgraph
from .names import FINISH

NOTE = Path(__file__).with_name("notes") / f"{FINISH}.md"
HUB = "https://huggingface.co/Comfy-Org"
FILM = Model(
    "film_net_fp16.safetensors",
    "frame_interpolation",
    f"{HUB}/frame_interpolation/resolve/main/frame_interpolation/film_net_fp16.safetensors",
)
UPSCALE = Model(
    "RealESRGAN_x4plus.safetensors",
    "upscale_models",
    f"{HUB}/Real-ESRGAN_repackaged/resolve/main/RealESRGAN_x4plus.safetensors",
)
ALIASES = [
    "finish", "interpolation", "smooth motion", "60 fps", "30 fps", "24 fps", "frame rate", "upscale video", "rife",
    "slow motion", "\u63d2\u5e27", "\u653e\u5927\u89c6\u9891",
]  # fmt: skip
BYPASSED = 4
VIDEO, POSES, RATE = "SteadyDancerVideoCombine", "SteadyDancerAnimateFromVideo", "SteadyDancerFrameRate"


def finish_chain(outer: Graph) -> Subgraph:
    """Return the subgraph: ComfyUI's interpolation, the wanted rate, and an upscaler that is bypassed."""
    inside = Subgraph(
        outer, "Finish",
        "More frames per second at the same length, by ComfyUI's frame interpolation; twice as large with the upscaler "
        "inside turned on.",
    )  # fmt: skip
    model = inside.add("FrameInterpolationModelLoader", (0, 0), (320, 60), {"model_name": FILM.name}, models=[FILM])
    times = inside.add("PrimitiveInt", (0, 160), (320, 90), {"value": 4}, "Multiplier")
    between = inside.add(
        "FrameInterpolate", (400, 0), (300, 110), interp_model=model["INTERP_MODEL"], multiplier=times["INT"]
    )
    rate = inside.add(RATE, (780, 0), (300, 180), images=between["IMAGE"], multiplier=times["INT"])
    upscaler = inside.add("UpscaleModelLoader", (780, 280), (300, 60), {"model_name": UPSCALE.name}, models=[UPSCALE])
    larger = inside.add(
        "ImageUpscaleWithModel", (1160, 0), (260, 60), upscale_model=upscaler["UPSCALE_MODEL"], image=rate["frames"]
    )
    values = {"upscale_method": "area", "scale_by": 0.5}
    half = inside.add("ImageScaleBy", (1500, 0), (260, 90), values, "Half of 4 times", image=larger["IMAGE"])
    for node in (upscaler, larger, half):
        node.data["mode"] = BYPASSED
    inside.take("images", (between, "images"))
    inside.promote("fps", rate, "fps")
    inside.take("driving_video", (rate, "driving_video"))
    inside.give("images", half, "IMAGE")
    inside.give("fps", rate, "fps")
    inside.promote("frame rate", rate, "frame_rate")
    inside.promote("multiplier", times, "value")
    inside.promote("interpolation model", model, "model_name")
    return inside


def finish_workflow(info: Mapping[str, dict], versions: Mapping[str, str]) -> dict:
    """Return the template: a finished video and its driving video to a smoother one, and to a comparison."""
    graph = Graph(info, versions, FINISH)
    graph.note("Finish", NOTE.read_text("utf-8"), (0, 30), (340, 970))
    result = graph.add("LoadVideo", (400, 30), (260, 350), {"file": ""}, "Finished video")
    parts = graph.add("GetVideoComponents", (400, 450), (260, 110), video=result["VIDEO"])
    driving = graph.add("LoadVideo", (400, 650), (260, 350), {"file": ""}, "Driving video")
    images, video = parts["images"], driving["VIDEO"]
    poses = graph.add(POSES, (740, 30), (500, 970), photo=images, video=video)
    sources = {"images": images, "fps": parts["fps"], "driving_video": video}
    smooth = graph.enter(finish_chain(graph), (1320, 30), (340, 230), sources)
    beside = graph.add(
        "SteadyDancerSideBySide", (1320, 400), (340, 180), images=smooth["images"], fps=smooth["fps"],
        driving_video=video, pose_frames=poses["pose_frames"],
    )  # fmt: skip
    shown = {"fps": smooth["fps"], "audio": parts["audio"]}
    finished = _save(graph, 30, "video/finished", images=smooth["images"], **shown)
    compared = _save(graph, 670, "video/compared", images=beside["frames"], **shown)
    groups = [
        graph.group("Videos", [result, parts, driving], "#3f789e"),
        graph.group("Poses", [poses], "#8A8"),
        graph.group("Finish", [smooth, beside], "#b58b2a"),
        graph.group("Results", [finished, compared], "#a1309b"),
    ]
    return graph.workflow(VIEW, groups)


def finish_blueprint(info: Mapping[str, dict], versions: Mapping[str, str]) -> dict:
    """Return the blueprint *Finish*: the subgraph in a node of its own, with the words that it is searched by."""
    graph = Graph(info, versions, "finish blueprint")
    graph.enter(finish_chain(graph), (0, 0), (360, 230), {})
    (inside,) = graph.subgraphs
    inside["extra"] = {"BlueprintSearchAliases": ALIASES}
    return graph.workflow({})


def _save(graph: Graph, y: int, prefix: str, **sources: Output) -> Node:
    return graph.add(VIDEO, (1740, y), (340, 530), {"filename_prefix": prefix}, links=sources)
