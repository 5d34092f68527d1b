"""The whole pose pipeline in one node: photo and driving video in, pose frames out, with good defaults."""

from comfy_api.latest import io

from ..dwpose.detect.blazepose import BlazePose
from ..dwpose.detect.runtime import AUTO as AUTO_PROVIDER
from ..dwpose.edit.align import MODES, remarks_text, report_text
from ..dwpose.edit.lead_in import AUTO
from ..dwpose.formats.keypoints import to_keypoints
from ..dwpose.pipeline import PoseOptions, compute_poses
from ..dwpose.track.pick import ALL
from ..dwpose.track.pose_cache import PoseCache
from ..media.audio_track import read_audio
from ..media.video_stream import ImageStream, open_video
from .common.node_text import show_text
from .common.pose_detection import cache_folder, make_room_for, node_callbacks, this_gpu
from .common.pose_images import draw_images, overlay_image
from .common.pose_input import PHOTO, SEED, meeting_inputs, size_inputs
from .common.pose_types import PoseDetector, PoseKeypoint
from .common.search_words import DANCE, SKELETON

PERSONS = ("largest", "centre", ALL)
CACHE_BYTES = 1 << 30


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
            inputs=[
                *INPUTS,
                *size_inputs("the photo's aspect ratio", "the area of 1024x576"),
                SEED,
                *meeting_inputs("frame 0"),
            ],
            outputs=OUTPUTS,
        )

    @classmethod
    def execute(cls, photo, video, width, height, detector=None, **options) -> io.NodeOutput:
        stream = open_video(video)
        if detector is None:
            make_room_for(AUTO_PROVIDER)
            detector = BlazePose(gpu=this_gpu())
        cache = PoseCache(cache_folder(), CACHE_BYTES)
        poses = compute_poses(ImageStream(photo[:1]), stream, detector, PoseOptions(**options), cache, node_callbacks())
        frames, pose_negative_frames = draw_images([poses.clip, poses.pose_negative], width, height)
        picture = overlay_image(photo, poses.alignment)
        audio = read_audio(video, poses.notes.append, stream)
        texts = report_text(poses.alignment), remarks_text(poses.alignment)
        report, brief = ("\n".join([*poses.notes, text]).rstrip() for text in texts)
        outputs = (frames, pose_negative_frames, picture, stream.fps, audio, poses.lead_in)
        return io.NodeOutput(*outputs, to_keypoints(poses.clip), report, ui=show_text(report, shown=brief))


INPUTS: list[io.Input] = [
    PHOTO,
    io.Video.Input("video", tooltip="The driving video. Any length, frame rate and aspect ratio."),
    PoseDetector.Input(
        "detector",
        optional=True,
        tooltip="From Load Pose Detector. If not connected, the bundled detector is used: body only, no hands.",
    ),
    io.Combo.Input(
        "person",
        options=list(PERSONS),
        tooltip="Which person in the video to follow. all: everyone, paired with the people in the photo from "
        "left to right. For any other choice use Extract Poses and Pick Person.",
    ),
    io.Combo.Input("mode", options=list(MODES), tooltip="How the motion is aligned to the photo. See Align Poses."),
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
    io.Int.Input(
        "max_frames",
        default=81,
        min=0,
        max=1 << 20,
        tooltip="Stop after this many frames of the dance; 81 frames are 5 seconds. 0 = the whole video.",
    ),
]


OUTPUTS: list[io.Output] = [
    io.Image.Output("pose_frames", tooltip="Connect to pose_frames of Reconcile Conditions."),
    io.Image.Output("negative_frames", tooltip="Connect to pose_negative_frames of Reconcile Conditions."),
    io.Image.Output(
        "overlay", tooltip="The photo with the skeleton drawn over it, at the frame where the two are aligned."
    ),
    io.Float.Output("fps", tooltip="Connect to fps of Video Combine, so that the video lasts as long as the dance."),
    io.Audio.Output("audio", tooltip="The audio of the driving video, for Video Combine. Empty if it has none."),
    io.Int.Output(id="lead_in_out", display_name="lead_in", tooltip="Number of lead-in frames, for Trim Lead-in."),
    PoseKeypoint.Output("poses", tooltip="The aligned poses, for saving or editing."),
    io.String.Output("report", tooltip="Who was detected, by which detector, and how the photo and the video differ."),
]


NODES = [AnimateFromVideo]
