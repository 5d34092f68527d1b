"""The whole road of poses in one node: photo and driving video in, pose frames out, with good defaults."""

from collections.abc import Callable
from typing import NamedTuple

from comfy_api.latest import Input, io
from torch import Tensor

from ..dwpose.detect.blazepose import BlazePose
from ..dwpose.detect.detector import Detector
from ..dwpose.detect.runtime import AUTO as AUTO_PROVIDER
from ..dwpose.draw import OFFICIAL
from ..dwpose.edit.align import MODES, Alignment, Request, align, remarks_text, report_text
from ..dwpose.edit.anchor import AT_NECK, FIRST
from ..dwpose.edit.augment import augment
from ..dwpose.edit.lead_in import AUTO, lead_in
from ..dwpose.edit.refine import refine
from ..dwpose.formats.keypoints import to_keypoints
from ..dwpose.poses import PoseClip
from ..dwpose.track.extract import ExtractSettings, apply_nobody_rule
from ..dwpose.track.pick import ALL, pick
from ..dwpose.track.pose_cache import PoseCache, SeenVideo
from ..media.audio_track import read_audio
from ..media.frame_size import MODEL_FPS, default_size
from ..media.frames import size_of
from .common.node_text import show_text
from .common.pose_types import PoseDetector, PoseKeypoint
from .pose_align import draw_images, meeting_inputs, overlay_image
from .pose_detector import make_room_for, this_gpu
from .pose_extract import cache_folder, open_stream, seen_people, warnings

PERSONS = ("largest", "centre", ALL)
GAP_FRAMES = 5
HELD = f". Gaps of up to {GAP_FRAMES} frames are filled in; in longer ones the last pose is held"
SEARCH = ExtractSettings(detect_every=5, max_people=4)
CACHE_BYTES = 1 << 30


class PoseOptions(NamedTuple):
    """What the artist chooses; see the inputs of the same names."""

    person: str
    mode: str
    smoothing: float
    lead_in: int
    max_frames: int
    anchor: str = FIRST
    meet_at: str = AT_NECK


class Poses(NamedTuple):
    """What becomes of photo and video before anything is drawn; the clip begins with `lead_in` frames of lead-in."""

    clip: PoseClip
    alignment: Alignment
    lead_in: int
    fps: float
    notes: list[str]


class AnimateFromVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerAnimateFromVideo",
            display_name="Poses From Video",
            category="SteadyDancer/pose",
            description=(
                "Turns a photo and a driving video into pose frames: detects both people, smooths the motion, aligns "
                "it to the photo, makes the pose-negative and draws both."
            ),
            search_aliases=["pose from video", "dance from video", "preprocess", "motion transfer"],
            inputs=[*_sources(), *_option_inputs(), *_drawing(), *meeting_inputs("frame 0")],
            outputs=_outputs(),
        )

    @classmethod
    def execute(
        cls, photo, video, person, mode, smoothing, lead_in, max_frames, width, height, seed, detector=None,
        anchor=FIRST, meet_at=AT_NECK,
    ) -> io.NodeOutput:  # fmt: skip
        options = PoseOptions(person, mode, smoothing, lead_in, max_frames, anchor, meet_at)
        poses = poses_of(photo, video, detector or _bundled(), options)
        frames, negative = draw_images([poses.clip, augment(poses.clip, seed)], width, height, OFFICIAL)
        picture = overlay_image(photo, poses.alignment)
        audio = read_audio(video, poses.notes.append)
        report, brief = _with_notes(poses, report_text), _with_notes(poses, remarks_text)
        outputs = (frames, negative, picture, poses.fps, audio, poses.lead_in)
        return io.NodeOutput(*outputs, to_keypoints(poses.clip), report, ui=show_text(report, shown=brief))


def _with_notes(poses: Poses, of: Callable[[Alignment], str]) -> str:
    return "\n".join([*poses.notes, of(poses.alignment)]).rstrip()


def poses_of(photo: Tensor, video: Input.Video, detector: Detector, options: PoseOptions) -> Poses:
    """Return the poses of the video, aligned to the first of `photo` [B, H, W, C]."""
    cache = PoseCache(cache_folder(), CACHE_BYTES)
    stands = _search("Photo", open_stream(photo[:1], None, MODEL_FPS, MODEL_FPS), detector, 1, cache).clip
    stream = open_stream(None, video, MODEL_FPS, MODEL_FPS)
    seen = _search("Driving video", stream, detector, options.max_frames, cache)
    chosen = pick(seen.clip, options.person)
    dance = refine(apply_nobody_rule(chosen, "hold"), GAP_FRAMES, options.smoothing, True)
    size = default_size(*size_of(photo))
    request = Request(size, options.mode, anchor_rule=options.anchor, meet_at=options.meet_at)
    alignment = align(stands, dance, request)
    clip = lead_in(alignment.clip, stands, options.lead_in) if options.lead_in else alignment.clip
    notes = [detector.name, *detector.notes, *[stream.note] * bool(stream.note)]
    people = f"People: {len(seen.clip.tracks)}, {options.person} chosen."
    notes += [f"Frames: {clip.frames} at {stream.fps:.5g} fps. {people}"]
    notes += warnings(seen.note, chosen, "nobody is" if options.person == ALL else "the person chosen is not", HELD)
    return Poses(clip, alignment, clip.frames - dance.frames, stream.fps, notes)


def _search(where: str, stream, detector: Detector, max_frames: int, cache: PoseCache) -> SeenVideo:
    try:
        return seen_people(stream, detector, SEARCH, max_frames, cache)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _bundled() -> Detector:
    make_room_for(AUTO_PROVIDER)
    return BlazePose(gpu=this_gpu())


def _sources() -> list[io.Input]:
    return [
        io.Image.Input(
            "photo",
            tooltip="Photo of the person to animate. If there are several images, the first is used.",
        ),
        io.Video.Input("video", tooltip="The driving video. Any length, frame rate and aspect ratio."),
        PoseDetector.Input(
            "detector", optional=True,
            tooltip="From Load Pose Detector. If not connected, the bundled detector is used: body only, no hands.",
        ),
    ]  # fmt: skip


def _option_inputs() -> list[io.Input]:
    return [
        io.Combo.Input(
            "person", options=list(PERSONS),
            tooltip="Which person in the video to follow. all: everyone, paired with the people in the photo from "
            "left to right. For any other choice use Extract Poses and Pick Person.",
        ),
        io.Combo.Input("mode", options=list(MODES), tooltip="How the motion is aligned to the photo. See Align Poses."),
        io.Float.Input(
            "smoothing", default=0.5, min=0.0, max=1.0, step=0.05,
            tooltip="How strongly jitter is removed. Fast moves keep their peaks. 0 = off.",
        ),
        io.Int.Input(
            "lead_in", default=0, min=AUTO, max=1000,
            tooltip="Frames that move from the photo's own pose into the dance. 0 = none. -1 = automatic. Trim "
            "Lead-in removes them from the finished video.",
        ),
        io.Int.Input(
            "max_frames", default=81, min=0, max=1 << 20,
            tooltip="Stop after this many frames of the dance; 81 frames are 5 seconds. 0 = the whole video.",
        ),
    ]  # fmt: skip


def _drawing() -> list[io.Input]:
    same = (
        "Must equal the {} in Reconcile Conditions. 0 follows the photo's aspect ratio; both 0: the area of 1024x576."
    )
    return [
        io.Int.Input("width", default=0, min=0, max=4096, step=16, tooltip=same.format("width")),
        io.Int.Input("height", default=0, min=0, max=4096, step=16, tooltip=same.format("height")),
        io.Int.Input(
            "seed", default=0, min=0, max=0xFFFFFFFFFFFFFFFF, control_after_generate=True,
            tooltip="The same seed gives the same pose-negative.",
        ),
    ]  # fmt: skip


def _outputs() -> list[io.Output]:
    return [
        io.Image.Output("pose_frames", tooltip="Connect to pose_frames of Reconcile Conditions."),
        io.Image.Output("negative_frames", tooltip="Connect to pose_negative_frames of Reconcile Conditions."),
        io.Image.Output(
            "overlay", tooltip="The photo with the skeleton drawn over it, at the frame where the two are aligned."
        ),
        io.Float.Output(
            "fps", tooltip="Connect to fps of Video Combine, so that the video lasts as long as the dance."
        ),
        io.Audio.Output("audio", tooltip="The audio of the driving video, for Video Combine. Empty if it has none."),
        io.Int.Output(id="lead_in_out", display_name="lead_in", tooltip="Number of lead-in frames, for Trim Lead-in."),
        PoseKeypoint.Output("poses", tooltip="The aligned poses, for saving or editing."),
        io.String.Output(
            "report", tooltip="Who was detected, by which detector, and how the photo and the video differ."
        ),
    ]


NODES = [AnimateFromVideo]
