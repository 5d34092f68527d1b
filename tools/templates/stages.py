"""The workflows beside those of six nodes: the dance alone, by hand, stage by stage, ready skeletons, many photos."""

from steadydancer_pack.miniature import SIDE

from .graph import Graph, Node, Output
from .parts import (
    DRAW,
    EXTRACT,
    POSES,
    SAMPLE,
    VIDEO,
    Setup,
    Sources,
    large_model,
    load_miniature,
    miniature,
    of_the_dance,
    sample_small,
)

ALIGN, AUGMENT, REFINE = "SteadyDancerAlignPoses", "SteadyDancerAugmentPoses", "SteadyDancerRefinePoses"
DETECTOR, DRAWN = "SteadyDancerLoadPoseDetector", {"width": SIDE, "height": SIDE}
BLUE, GREEN, GRAY, YELLOW, PURPLE = "#3f789e", "#8A8", "#88A", "#b58b2a", "#a1309b"


def check_the_dance(graph: Graph) -> list[dict]:
    """The pose node alone, on the sample or on a photo and a video of one's own."""
    sources, groups = sample_or_own(graph, 420)
    dance = graph.add(POSES, (960, 30), (900, 1130), photo=sources.photo, video=sources.video)
    graph.app_mode([*sources.fields, *of_the_dance(dance)], dance)
    return [*groups, graph.group("The dance", [dance], GREEN)]


def sample_or_own(graph: Graph, x: int) -> tuple[Sources, list[dict]]:
    """Return photo and driving video: those of the sample, until a switch takes one's own. And the groups of both."""
    sample = graph.add(SAMPLE, (x, 30), (250, 280))
    own = graph.add("PrimitiveBoolean", (x, 430), (250, 60), {"value": False}, "Own files")
    photo = graph.add("LoadImage", (x, 550), (250, 260), {"image": ""}, "Your photo")
    video = graph.add("LoadVideo", (x, 870), (250, 310), {"file": ""}, "Your driving video")
    photos = _switch(graph, (x + 290, 430), own, sample["photo"], photo["IMAGE"], "Photo", "IMAGE")
    videos = _switch(graph, (x + 290, 600), own, sample["driving_video"], video["VIDEO"], "Driving video", "VIDEO")
    fields = [(photo, "image", "photo"), (video, "file", "driving video"), (own, "value", "own files, not the sample")]
    groups = [
        graph.group("To try it", [sample], BLUE),
        graph.group("Your own", [own, photo, video], BLUE),
        graph.group("Which of them", [photos, videos], GRAY),
    ]
    return Sources(photos["output"], videos["output"], fields), groups


def _switch(
    graph: Graph, place: tuple[int, int], own: Node, sample: Output, file: Output, title: str, kind: str
) -> Node:
    """Add ComfyUI's switch between two outputs of the type `kind`; only the one it takes runs."""
    switch = graph.add("ComfySwitchNode", place, (210, 80), title=title)
    for slot in (*switch.data["inputs"], *switch.data["outputs"]):
        slot["type"] = kind
    for name, source in (("on_false", sample), ("on_true", file), ("switch", own["BOOLEAN"])):
        graph.link(source, switch, name)
    return switch


def stage_by_stage(graph: Graph) -> list[dict]:
    """Every stage of the poses as its own node."""
    sample = graph.add(SAMPLE, (340, 30), (250, 420))
    detector = graph.add(DETECTOR, (340, 560), (250, 220))
    found = detector["pose_detector"]
    values = {"max_frames": 33}
    video = graph.add(
        EXTRACT, (630, 30), (250, 420), values, "Poses of the video", detector=found, video=sample["driving_video"]
    )
    values = {"use_cache": False}
    stands = graph.add(
        EXTRACT, (630, 560), (250, 420), values, "Pose of the photo", detector=found, images=sample["photo"]
    )
    pick = graph.add("SteadyDancerPickPerson", (920, 30), (240, 270), title="Person to follow", poses=video["poses"])
    people = graph.add("PreviewImage", (920, 400), (240, 320), title="People detected", images=video["preview"])
    refine = graph.add(REFINE, (1200, 30), (270, 200), poses=pick["poses"])
    align = graph.add(
        ALIGN, (1200, 310), (270, 760), poses=refine["poses"], photo=sample["photo"], photo_poses=stands["poses"]
    )
    augment = graph.add(AUGMENT, (1510, 30), (240, 110), {"seed": 1234}, poses=align["poses"])
    draw = graph.add(
        DRAW, (1510, 260), (240, 460), DRAWN, poses=align["poses"], negative_poses=augment["negative_poses"]
    )
    inside = miniature(graph)
    frames = {name: draw[name] for name in ("pose_frames", "negative_frames")}
    dancer = graph.enter(inside, (1790, 30), (300, 300), frames | {"photo": sample["photo"], "audio": video["audio"]})
    finished = graph.add(
        VIDEO, (2130, 30), (250, 700), images=dancer["images"], audio=dancer["audio"], pose_frames=dancer["pose_frames"]
    )
    return [
        graph.group("The bundled sample", [sample], BLUE),
        graph.group("Detector", [detector], GREEN),
        graph.group("Who is where", [video, stands], GREEN),
        graph.group("Choose and look", [pick, people], GREEN),
        graph.group("Smooth, then fit to the photo", [refine, align], GREEN),
        graph.group("Pose-negative and pictures", [augment, draw], GREEN),
        graph.group("Sampling", [dancer], YELLOW),
        graph.group("Video", [finished], PURPLE),
    ]


def ready_skeletons(graph: Graph) -> list[dict]:
    """Skeletons that are a video already, and sampling node by node."""
    sample = graph.add(SAMPLE, (400, 30), (280, 420))
    small = load_miniature(graph, 400, 570, 280)
    pose, negative = (
        graph.add("GetVideoComponents", (730, y), (260, 110), title=title, video=sample[output])
        for y, title, output in (
            (30, "Pose frames", "pose_video"),
            (240, "Pose-negative frames", "pose_negative_video"),
        )
    )
    conditions, sampler, decode, frames = sample_small(graph, small, (1040, 1390, 1740, 1740), 300, size=DRAWN)
    frames.data["pos"][1] = 190
    graph.link(sample["photo"], conditions, "photo")
    graph.link(pose["images"], conditions, "pose_frames")
    graph.link(negative["images"], conditions, "pose_negative_frames")
    finished = graph.add(VIDEO, (2030, 30), (350, 900), images=frames["IMAGE"], audio=pose["audio"], fps=pose["fps"])
    return [
        graph.group("The bundled sample", [sample], BLUE),
        graph.group("Model and prompts", list(small), GRAY),
        graph.group("Skeletons", [pose, negative], GREEN),
        graph.group("Conditions", [conditions], GREEN),
        graph.group("Sampling", [sampler], YELLOW),
        graph.group("Pictures", [decode, frames], YELLOW),
        graph.group("Video", [finished], PURPLE),
    ]


def own_pose_video(graph: Graph, setup: Setup) -> list[dict]:
    """A skeleton video and the 14B files."""
    clip = graph.add("LoadVideo", (400, 30), (260, 440), {"file": ""}, "Pose video")
    photo = graph.add("LoadImage", (400, 560), (260, 370), {"image": ""}, "Photo")
    frames = graph.add("GetVideoComponents", (690, 30), (220, 110), title="Pose frames", video=clip["VIDEO"])
    inside = large_model(graph, setup)
    dancer = graph.enter(
        inside, (950, 200), (340, 700),
        {"photo": photo["IMAGE"], "pose_frames": frames["images"], "audio": frames["audio"]},
    )  # fmt: skip
    outputs = {name: dancer[name] for name in ("images", "audio", "pose_frames")}
    graph.add(VIDEO, (1330, 30), (300, 900), links=outputs, fps=frames["fps"])
    return []


def fix_by_hand(graph: Graph) -> list[dict]:
    """Poses of a video, corrected by hand, then fitted to the photo, drawn and kept as a file."""
    (photo, clip, _), groups = sample_or_own(graph, 395)
    detector = graph.add(DETECTOR, (685, 900), (210, 220))
    found = detector["pose_detector"]
    values = {"max_frames": 81}
    video = graph.add(EXTRACT, (935, 30), (260, 420), values, "Poses of the video", detector=found, video=clip)
    values = {"use_cache": False}
    stands = graph.add(EXTRACT, (935, 500), (260, 350), values, "Pose of the photo", detector=found, images=photo)
    edit = graph.add(
        "SteadyDancerEditPoses", (1235, 30), (280, 300), poses=video["poses"], video=clip,
        fps=video["fps"],
    )  # fmt: skip
    refine = graph.add(REFINE, (1235, 450), (280, 220), poses=edit["poses"])
    start = graph.add(
        "SteadyDancerBestStart", (1235, 790), (280, 260), poses=refine["poses"], photo_poses=stands["poses"],
        audio=video["audio"], fps=video["fps"],
    )  # fmt: skip
    align = graph.add(ALIGN, (1555, 30), (280, 760), poses=start["poses"], photo=photo, photo_poses=stands["poses"])
    save = graph.add("SteadyDancerSavePoses", (1555, 910), (280, 200), poses=start["poses"], fps=video["fps"])
    augment = graph.add(AUGMENT, (1875, 30), (250, 110), {"seed": 1234}, poses=align["poses"])
    draw = graph.add(DRAW, (1875, 260), (250, 460), poses=align["poses"], negative_poses=augment["negative_poses"])
    values = {"filename_prefix": "steadydancer_preview/fixed", "save_output": False}
    shown = graph.add(
        VIDEO, (2165, 30), (320, 900), values, "The dance", images=draw["pose_frames"], audio=start["audio"],
        fps=video["fps"],
    )  # fmt: skip
    return [
        *groups,
        graph.group("Who is where", [video, stands], GREEN),
        graph.group("Detector", [detector], GREEN),
        graph.group("By hand", [edit], YELLOW),
        graph.group("Smooth", [refine], GREEN),
        graph.group("Pick the start", [start], GREEN),
        graph.group("Fit to the photo", [align], GREEN),
        graph.group("The file", [save], PURPLE),
        graph.group("Pose-negative and pictures", [augment, draw], GREEN),
        graph.group("Look", [shown], PURPLE),
    ]


def many_photos(graph: Graph, setup: Setup) -> list[dict]:
    """A list of photos: what follows runs once for each."""
    photos = [
        graph.add("LoadImage", (410, 30 + 330 * number), (270, 240), {"image": ""}, f"Photo {number + 1}")
        for number in range(3)
    ]
    clip = graph.add("LoadVideo", (730, 300), (270, 420), {"file": ""}, "Driving video")
    every = graph.add("CreateList", (730, 30), (270, 130), title="Photos, one after the other")
    _list_of(every, graph, photos)
    each = every["list"]
    poses = graph.add(POSES, (1050, 30), (520, 900), {"size": "480p"}, photo=each, video=clip["VIDEO"])
    names = "photo", "pose_frames", "negative_frames", "audio", "lead_in"
    dancer = graph.enter(large_model(graph, setup), (1620, 30), (380, 620), {name: poses[name] for name in names})
    outputs = {name: dancer[name] for name in ("images", "audio", "pose_frames")}
    finished = graph.add(VIDEO, (2050, 30), (350, 900), links=outputs)
    return [
        graph.group("Photos", photos, BLUE),
        graph.group("The list, and the dance", [every, clip], BLUE),
        graph.group("Poses", [poses], GREEN),
        graph.group("SteadyDancer", [dancer], YELLOW),
        graph.group("Videos", [finished], PURPLE),
    ]


def _list_of(every: Node, graph: Graph, sources: list[Node]) -> None:
    """Give ComfyUI's node for lists a socket for each source, as its page does."""
    slot = {"type": "IMAGE", "link": None}
    names = [f"inputs.input{index}" for index in range(len(sources) + 1)]
    every.data["inputs"] = [{"name": name, **slot} for name in names[:-1]] + [{"name": names[-1], **slot, "shape": 7}]
    every.data["outputs"][0]["type"] = "IMAGE"
    for index, source in enumerate(sources):
        graph.link(Output(source, 0), every, f"inputs.input{index}")
