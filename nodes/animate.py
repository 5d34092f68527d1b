"""The whole pose pipeline in one node: photo and driving video in, pose frames out, with good defaults."""

from collections.abc import Mapping

from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker
from torch import Tensor

from ..dwpose.detect.detector import Detector
from ..dwpose.detect.wholebody import DWPose
from ..dwpose.edit.align import MODES, remarks_text, report_text
from ..dwpose.edit.lead_in import AUTO
from ..dwpose.formats.keypoints import to_keypoints
from ..dwpose.pipeline import AUTOMATIC, PoseOptions, compute_poses, on_canvas
from ..dwpose.track.pick import ALL
from ..dwpose.track.pose_cache import PoseCache
from ..media.audio_track import read_audio
from ..media.frame_size import AREAS, MODEL_FPS, choose_size, crop_fraction, crop_note, default_size
from ..media.frames import crop, fit_image, size_of, to_rgb
from ..media.video_stream import ImageStream, open_video
from .common.dance_player import show_dance
from .common.detector_choice import automatic_detector, files_state
from .common.editor_output import show_alignment_editor
from .common.pose_detection import cache_folder, node_callbacks
from .common.pose_images import draw_images, overlay_image
from .common.pose_input import (
    PHOTO,
    correction_inputs,
    correction_values,
    meeting_inputs,
    seed_input,
    take_corrections,
)
from .common.pose_types import PoseDetector, PoseKeypoint
from .common.search_words import DANCE, SKELETON
from .common.video_input import one_video, skip_seconds

NUMBERS = tuple(map(str, range(1, 10)))  # of people, as the preview draws them
PERSONS = ("largest", "centre", ALL, *NUMBERS)
PHOTO_PERSONS = (AUTOMATIC, "largest", "centre", *NUMBERS)
CUSTOM = "custom"
CORRECTED_PARTS = "body", "head"
CACHE_BYTES = 1 << 30
OFFICIAL = "official"  # the mode, and DW-Pose's color order in it
NOT_PUBLISHED_DETECTOR = (
    "Warning: official mode, but the detector is not as published. That is DW-Pose with flip_test on and colour_order "
    "official: leave detector unconnected and get its two files, or set both in Load Pose Detector."
)
NOT_DRAWN = (
    "draw_frames of Poses From Video is off, so there are no pose frames. Connect poses and negative_poses instead, or "
    "turn draw_frames on."
)


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
            search_aliases=["pose from video", "dance from video", "preprocess", *DANCE, *SKELETON],
            is_output_node=True,  # so that it can be run alone, to look at the dance before the long run
            inputs=[*SOURCES, *MAIN_INPUTS, *repair_inputs(), DRAW_FRAMES],
            outputs=OUTPUTS,
        )

    @classmethod
    def fingerprint_inputs(cls, **_) -> str:
        """Without a detector the node looks for the files of DW-Pose."""
        return files_state()

    @classmethod
    def execute(
        cls,
        photo,
        size: Mapping | None = None,
        video=None,
        images=None,
        source_fps: float = MODEL_FPS,
        detector=None,
        start_seconds: float = 0.0,
        draw_frames: bool = True,
        **options,
    ) -> io.NodeOutput:
        width, height = frame_size(photo, size)
        video = skip_seconds(one_video("Poses From Video", video, images, source_fps), start_seconds)
        stream = open_video(video)
        detector, notes = _choose_detector(detector, options.get("mode") == OFFICIAL)
        cache = PoseCache(cache_folder(), CACHE_BYTES)
        chosen = PoseOptions(corrections=take_corrections(options, CORRECTED_PARTS), **options)
        still = ImageStream(photo[:1])
        poses = compute_poses(still, stream, detector, chosen, cache, node_callbacks())
        kept, clips = crop_fraction(size_of(photo), width, height), [poses.clip, poses.pose_negative]
        if draw_frames:
            frames = [fit_image(images, width, height, kept) for images in draw_images(clips, width, height)]
        else:
            frames = [ExecutionBlocker(NOT_DRAWN)] * 2
            clips = [on_canvas(clip, (width, height), kept) for clip in clips]
        picture = overlay_image(photo, poses.alignment)
        notes += [*poses.notes, f"Size of the video: {width}x{height}.", crop_note(kept)]
        audio = read_audio(video, notes.append, stream)
        texts = report_text(poses.alignment), remarks_text(poses.alignment)
        report, brief = ("\n".join(filter(None, [*notes, text])) for text in texts)
        outputs = (*frames, picture, stream.fps, audio, poses.lead_in)
        shown = show_dance(poses, still, stream, kept, audio, report, brief)
        values = correction_values(chosen.corrections, CORRECTED_PARTS)
        editor = show_alignment_editor("Poses From Video", photo, poses.alignment, values, stream.fps, poses.lead_in)
        del poses  # of a long dance as much memory as the lists made of it now
        keypoints, negative_keypoints = map(to_keypoints, clips)
        outputs = (*outputs, keypoints, report, crop(photo[:1], kept), negative_keypoints)
        return io.NodeOutput(*outputs, ui={**shown, **editor})


def _choose_detector(detector: Detector | None, official: bool) -> tuple[Detector, list[str]]:
    """Return the detector to use, and remarks: why no hands are seen, and what is not as published."""
    notes: list[str] = []
    if detector is None:
        detector, notes = automatic_detector(flip_test=True, color_order=OFFICIAL) if official else automatic_detector()
    if official and not (isinstance(detector, DWPose) and detector.official):
        notes = [*notes, NOT_PUBLISHED_DETECTOR]
    return detector, notes


def frame_size(photo: Tensor, size: Mapping | None) -> tuple[int, int]:
    """Return (width, height) of the video for the choice `size`; ValueError for an unknown one."""
    values = size or {}  # ComfyUI passes no choice that it does not know
    image, name = size_of(to_rgb(photo)), values.get("size")
    if name == CUSTOM:
        return choose_size(*image, values.get("width") or 0, values.get("height") or 0)
    if name not in AREAS:
        found = f"There is no size '{name}'." if name else "The size is not one of this version."
        raise ValueError(f"{found} Choose one of: {', '.join([*AREAS, CUSTOM])}.")
    return default_size(*image, AREAS[name])


SOURCES: list[io.Input] = [
    PHOTO,
    io.Video.Input(
        "video",
        optional=True,
        tooltip="The driving video. Any length, frame rate and aspect ratio. Connect either this or images.",
    ),
    io.Image.Input(
        "images",
        optional=True,
        tooltip="The frames of the driving video, as other nodes load them. Set source_fps. Connect either this or "
        "video.",
    ),
    PoseDetector.Input(
        "detector",
        optional=True,
        tooltip="From Load Pose Detector. If not connected: DW-Pose if its two files are here, else the bundled "
        "detector, which sees no hands.",
    ),
]


MAIN_INPUTS: list[io.Input] = [
    io.Combo.Input(
        "person",
        options=list(PERSONS),
        tooltip="Which person in the video to follow: the largest, the one nearest to the centre, all of them, or the "
        "number drawn in the preview. all: paired with the people in the photo from left to right.",
    ),
    io.DynamicCombo.Input(
        "size",
        options=[
            *(io.DynamicCombo.Option(name, []) for name in AREAS),
            io.DynamicCombo.Option(
                CUSTOM,
                [
                    io.Int.Input(
                        side,
                        default=0,
                        min=0,
                        max=4096,
                        step=16,
                        optional=True,
                        tooltip=f"{side.capitalize()} in pixels, a multiple of 16. 0 follows the photo. If the shape "
                        "differs from the photo's, the photo is cropped about its center.",
                    )
                    for side in ("width", "height")
                ],
            ),
        ],
        tooltip="Size of the video. 576p, 480p and 720p are areas in the photo's own shape: 1024x576, 832x480 and "
        "1280x720 pixels. 576p is official, 480p faster. custom: your own width and height.",
    ),
    io.Int.Input(
        "max_frames",
        default=81,
        min=0,
        max=1 << 20,
        tooltip="Stop after this many frames of the dance; 81 frames are 5 seconds. 0 = the whole video.",
    ),
    io.Float.Input(
        "smoothing",
        default=0.5,
        min=0.0,
        max=1.0,
        step=0.05,
        tooltip="How strongly jitter is removed. Fast moves keep their peaks. 0 = off.",
    ),
    io.Int.Input(
        "lead_in",
        default=0,
        min=AUTO,
        max=1000,
        tooltip="Frames that move from the photo's own pose into the dance. 0 = none. -1 = automatic. Trim "
        "Lead-in removes them from the finished video.",
    ),
]


def repair_inputs() -> list[io.Input]:
    """Return the advanced inputs: what to take of video and photo, and corrections of the alignment."""
    return [
        io.Float.Input(
            "start_seconds",
            default=0.0,
            min=0.0,
            max=1e6,
            step=0.1,
            optional=True,
            advanced=True,
            tooltip="Skip this much of the driving video, its audio too. max_frames says how much is used from there.",
        ),
        io.Combo.Input(
            "photo_person",
            options=list(PHOTO_PERSONS),
            default=AUTOMATIC,
            optional=True,
            advanced=True,
            tooltip="Which person in the photo to animate: the largest, the one nearest to the centre, or the number "
            "drawn in the preview. automatic: the largest, or everybody if person is all.",
        ),
        io.Combo.Input(
            "mode",
            options=list(MODES),
            optional=True,
            advanced=True,
            tooltip="robust: for any photo and video. official: as published, detected in every frame with flip test "
            "and official color order, neither smoothed nor repaired, official alignment. See the help page.",
        ),
        *meeting_inputs("frame 0"),
        *correction_inputs(CORRECTED_PARTS),
        seed_input(advanced=True),
        io.Float.Input(
            "source_fps",
            default=MODEL_FPS,
            min=0.01,
            max=240.0,
            step=0.01,
            optional=True,
            advanced=True,
            tooltip="Frame rate of images. A video brings its own.",
        ),
    ]


DRAW_FRAMES = io.Boolean.Input(
    "draw_frames",
    default=True,
    optional=True,
    advanced=True,
    tooltip="Off: draw no pose frames, which takes little memory for videos of minutes. Connect poses and "
    "negative_poses to SteadyDancer Sampler (any length) instead; they then have the size of the video.",
)


OUTPUTS: list[io.Output] = [
    io.Image.Output("pose_frames", tooltip="Connect to pose_frames of Reconcile Conditions."),
    io.Image.Output("negative_frames", tooltip="Connect to pose_negative_frames of Reconcile Conditions."),
    io.Image.Output(
        "overlay", tooltip="The photo with the skeleton drawn over it, at the frame where the two are aligned."
    ),
    io.Float.Output(
        "fps", tooltip="Connect to fps of Video Combine (SteadyDancer), so that the video lasts as long as the dance."
    ),
    io.Audio.Output(
        "audio", tooltip="The audio of the driving video, for Video Combine (SteadyDancer). Empty if it has none."
    ),
    io.Int.Output(id="lead_in_out", display_name="lead_in", tooltip="Number of lead-in frames, for Trim Lead-in."),
    PoseKeypoint.Output("poses", tooltip="The aligned poses, for saving or editing."),
    io.String.Output("report", tooltip="Who was detected, by which detector, and how the photo and the video differ."),
    io.Image.Output(
        id="photo_out",
        display_name="photo",
        tooltip="The photo in the shape of the video: cropped about its center where a custom size cuts something. "
        "Connect to photo of Reconcile Conditions.",
    ),
    PoseKeypoint.Output(
        "negative_poses",
        tooltip="The pose-negative of poses, for negative_poses of Reconcile Conditions or the sampler.",
    ),
]


NODES = [AnimateFromVideo]
