"""Poses of the people in the driving video, tracked from frame to frame, and of the one to follow."""

from comfy_api.latest import Input, io
from torch import Tensor

from ..dwpose.detect.detector import Detector
from ..dwpose.formats.keypoints import to_keypoints
from ..dwpose.pipeline import detect_people_cached, detection_warnings
from ..dwpose.poses import PoseClip
from ..dwpose.track.extract import NOBODY_RULES, ExtractSettings, apply_nobody_rule
from ..dwpose.track.pick import RULES, pick
from ..dwpose.track.pose_cache import PoseCache, SeenVideo
from ..dwpose.track.preview import Preview
from ..media.audio_track import read_audio
from ..media.frame_size import MODEL_FPS
from ..media.frames import to_float
from ..media.video_stream import ImageStream, VideoStream, open_video
from .common.node_text import show_text
from .common.pose_detection import cache_folder, node_callbacks
from .common.pose_input import read_poses
from .common.pose_types import PoseDetector, PoseKeypoint

NOBODY_TOOLTIP = (
    "hold: repeat the last pose; before the first person, use the first pose. blank: no skeleton. end: the clip ends "
    "there."
)


class ExtractPoses(io.ComfyNode):
    """IMAGE or VIDEO to POSE_KEYPOINT, a preview, and what Video Combine needs."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerExtractPoses",
            display_name="Extract Poses",
            category="SteadyDancer/pose",
            description=(
                "Detects the people in a video, images or a photo, tracks each of them, and outputs their poses frame "
                "by frame. Videos of any length are read frame by frame."
            ),
            search_aliases=["dwpose", "openpose", "pose estimation", "pose detection", "keypoints", "skeleton"],
            inputs=EXTRACT_INPUTS,
            outputs=EXTRACT_OUTPUTS,
        )

    @classmethod
    def execute(
        cls,
        detector: Detector,
        fps: float,
        source_fps: float,
        detect_every: int,
        max_people: int,
        when_nobody: str,
        max_frames: int,
        use_cache: bool,
        cache_mb: int,
        images: Tensor | None = None,
        video: Input.Video | None = None,
    ) -> io.NodeOutput:
        if (images is None) == (video is None):
            found = "neither images nor video" if images is None else "both images and video"
            raise ValueError(f"Extract Poses has {found} connected. Connect exactly one of the two.")
        stream = open_video(video, fps) if images is None else ImageStream(images, source_fps, fps)
        settings = ExtractSettings(detect_every, max_people, max_frames)
        cache = PoseCache(cache_folder(), cache_mb << 20) if use_cache and cache_mb else None
        preview = Preview()
        seen = detect_people_cached(stream, detector, settings, cache, node_callbacks(), preview)
        clip = apply_nobody_rule(seen.clip, when_nobody)
        sound_notes = []
        audio = read_audio(video, sound_notes.append, stream) if video is not None else None
        report = "\n".join([_report(stream, detector, seen, clip, when_nobody), *sound_notes])
        pictures = to_float(preview.draw(clip))
        outputs = (to_keypoints(clip), pictures, stream.fps, audio, clip.frames, report)
        return io.NodeOutput(*outputs, ui=show_text(report))


class PickPerson(io.ComfyNode):
    """POSE_KEYPOINT of several people to POSE_KEYPOINT of one."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerPickPerson",
            display_name="Pick Person",
            category="SteadyDancer/pose",
            description="Keeps one person, the same in all frames.",
            search_aliases=["select person", "choose dancer", "filter people", "multi person"],
            inputs=PICK_INPUTS,
            outputs=[PoseKeypoint.Output(id="picked", display_name="poses", tooltip="The poses of the person picked.")],
        )

    @classmethod
    def execute(
        cls, poses: list, rule: str, index: int, x: float, y: float, frame: int, when_absent: str
    ) -> io.NodeOutput:
        seen = pick(read_poses(poses), rule, index, x, y, frame)
        clip = apply_nobody_rule(seen, when_absent)
        return io.NodeOutput(to_keypoints(clip), ui=show_text("\n".join(_people(seen))))


EXTRACT_INPUTS: list[io.Input] = [
    PoseDetector.Input("detector", tooltip="The output of Load Pose Detector."),
    io.Image.Input(
        "images",
        optional=True,
        tooltip="The frames of the driving video, or a single photo. Connect either this or video.",
    ),
    io.Video.Input(
        "video",
        optional=True,
        tooltip="The driving video, read from its file frame by frame. Connect either this or images.",
    ),
    io.Float.Input(
        "fps",
        default=MODEL_FPS,
        min=0.0,
        max=240.0,
        step=0.01,
        tooltip="Poses per second. The model was trained at 16. The dance keeps its duration at any frame rate. 0 "
        "= one pose per source frame.",
    ),
    io.Float.Input(
        "source_fps",
        default=MODEL_FPS,
        min=0.01,
        max=240.0,
        step=0.01,
        tooltip="Frame rate of images. A video brings its own.",
    ),
    io.Int.Input(
        "detect_every",
        default=5,
        min=1,
        max=1000,
        tooltip="Detect people every Nth frame; in between they are tracked. If someone is lost, detection runs "
        "at once. 1 is the most careful, and slow on a CPU.",
    ),
    io.Int.Input(
        "max_people",
        default=4,
        min=1,
        max=64,
        tooltip="Maximum number of people tracked at once: first those already tracked, then those with the "
        "highest score.",
    ),
    io.Combo.Input(
        "when_nobody",
        options=list(NOBODY_RULES),
        default=NOBODY_RULES[0],
        tooltip=f"What to do in frames where nobody is detected. {NOBODY_TOOLTIP}",
    ),
    io.Int.Input("max_frames", default=0, min=0, max=1 << 20, tooltip="Stop after this many poses. 0 = no limit."),
    io.Boolean.Input(
        "use_cache",
        default=True,
        tooltip="Keep the poses on disk, so that the same video with the same detector and settings is not "
        "processed again.",
    ),
    io.Int.Input(
        "cache_mb",
        default=1024,
        min=0,
        max=1 << 20,
        tooltip="Maximum size of this cache in MB. The least recently used poses are deleted first.",
    ),
]


EXTRACT_OUTPUTS: list[io.Output] = [
    PoseKeypoint.Output("poses", tooltip="The poses of everyone, frame by frame."),
    io.Image.Output(
        "preview",
        tooltip="Up to 16 evenly spaced small frames with the skeletons and each person's number.",
    ),
    io.Float.Output(
        id="fps_out",
        display_name="fps",
        tooltip="Poses per second. Connect it to Video Combine to keep the timing.",
    ),
    io.Audio.Output("audio", tooltip="The audio of the video. Empty for images or a silent video."),
    io.Int.Output("frame_count", tooltip="Number of frames with poses."),
    io.String.Output("report", tooltip="Who was detected in how many frames, by which detector, and what to check."),
]


PICK_INPUTS: list[io.Input] = [
    PoseKeypoint.Input("poses", tooltip="Poses of several people, from Extract Poses or any other node."),
    io.Combo.Input(
        "rule",
        options=list(RULES),
        default="largest",
        tooltip="largest: seen longest and largest. centre: closest to the center on average. number: the number "
        "in the preview. index and nearest: in one frame, counted from the left or closest to a point. all: "
        "everyone.",
    ),
    io.Int.Input(
        "index",
        default=0,
        min=0,
        max=1000,
        tooltip="For number: the person's number in the preview, from 1. For index: counts the people of that "
        "frame from the left, from 0.",
    ),
    io.Float.Input("x", default=0.5, min=0.0, max=1.0, step=0.01, tooltip="For nearest: 0 is left, 1 is right."),
    io.Float.Input("y", default=0.5, min=0.0, max=1.0, step=0.01, tooltip="For nearest: 0 is top, 1 is bottom."),
    io.Int.Input(
        "frame",
        default=0,
        min=0,
        max=1 << 20,
        tooltip="For index and nearest: the frame that decides. 0 is the first.",
    ),
    io.Combo.Input(
        "when_absent",
        options=list(NOBODY_RULES),
        default=NOBODY_RULES[0],
        tooltip=f"What to do in frames where the person picked is not detected. {NOBODY_TOOLTIP}",
    ),
]


def _report(stream, detector: Detector, seen: SeenVideo, clip: PoseClip, rule: str) -> str:
    lines = [
        f"Frames: {clip.frames} of {clip.width}x{clip.height}, {clip.frames / stream.fps:.2f} s",
        f"Rate: {stream.source_fps:.5g} fps -> {stream.fps:.5g} fps",
        f"Detector: {detector.name}",
        *_people(seen.clip),
    ]
    if stream.note and isinstance(stream, VideoStream):
        lines.append(stream.note)
    lines += detection_warnings(seen.note, seen.clip, "nobody is", f"; rule: {rule}")
    if len(seen.clip.tracks) > 1:
        lines.append("Several people: choose one with Pick Person.")
    return "\n".join(lines)


def _people(clip: PoseClip) -> list[str]:
    return [f"Person {t.number}: in {100 * t.present.mean():.0f} % of the frames" for t in clip.tracks]


NODES = [ExtractPoses, PickPerson]
