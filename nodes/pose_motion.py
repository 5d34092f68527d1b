"""Poses in time: refined, started at the best frame, led in from the photo's own pose; the sound stays with them."""

import numpy as np
from comfy_api.latest import Input, io
from torch import Tensor
from torch.nn.functional import pad

from ..dwpose.edit.best_start import best_start
from ..dwpose.edit.lead_in import AUTO, lead_in
from ..dwpose.edit.refine import refine_with_report, report_text
from ..dwpose.formats.keypoints import to_keypoints
from ..media.audio_input import cut_audio, to_audio
from ..media.frame_size import MODEL_FPS
from ..media.frame_source import FrameSource, Spliced
from .common.frames_video import connected_clip, video_instead
from .common.node_text import show_text
from .common.pose_input import fps_input, read_poses
from .common.pose_types import PoseKeypoint
from .common.search_words import STEADY

TRIM, KEEP = "trim", "keep"
LISTED = 5  # frames that the report of Best Start names


class RefinePoses(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerRefinePoses",
            display_name="Refine Poses",
            category="SteadyDancer/pose",
            description=(
                "Cleans up a dance before it is aligned: fixes swapped left and right limbs, replaces single-frame "
                "errors, fills short gaps, and removes jitter without flattening fast moves."
            ),
            search_aliases=["smooth pose", "pose jitter", "fill gaps", "left right swap", "denoise keypoints", *STEADY],
            inputs=REFINE_INPUTS,
            outputs=[
                PoseKeypoint.Output("poses_out", display_name="poses", tooltip="The refined poses, for Align Poses."),
                io.String.Output("report", tooltip="What was filled, swapped back and smoothed, per person."),
            ],
        )

    @classmethod
    def execute(cls, poses: list, repair_swaps: bool, gap_frames: int, smoothing: float) -> io.NodeOutput:
        clip = read_poses(poses)
        refined, reports = refine_with_report(clip, gap_frames, smoothing, repair_swaps)
        text = report_text(reports)
        return io.NodeOutput(poses if refined is clip else to_keypoints(refined), text, ui=show_text(text))


REFINE_INPUTS: list[io.Input] = [
    PoseKeypoint.Input("poses", tooltip="The poses of the driving video, from Extract Poses."),
    io.Boolean.Input(
        "repair_swaps",
        default=True,
        tooltip="Fix arms, legs, eyes and ears where the detector swapped left and right for some frames. A "
        "dancer who really turns is not changed.",
    ),
    io.Int.Input(
        "gap_frames",
        default=5,
        min=0,
        max=1000,
        tooltip="Fill gaps of up to this many frames from the poses before and after. Longer gaps stay open. 0 = "
        "fill nothing. A pose held while nobody was detected counts as a gap. Single-frame errors are replaced "
        "first.",
    ),
    io.Float.Input(
        "smoothing",
        default=0.5,
        min=0.0,
        max=1.0,
        step=0.05,
        tooltip="How strongly jitter is removed. 0 = off. Fast moves keep their peaks, and nothing lags. "
        "Single-frame errors are replaced first.",
    ),
]


class LeadIn(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerLeadIn",
            display_name="Lead-in",
            category="SteadyDancer/pose",
            description=(
                "Adds frames before the dance that move from the photo's own pose to the first pose, each limb "
                "rotating about its joint. The video then does not jump from the photo into the dance."
            ),
            search_aliases=["start gap", "pose transition", "interpolate pose", "first pose"],
            inputs=[
                PoseKeypoint.Input("poses", tooltip="The dance, aligned to the photo, from Align Poses."),
                PoseKeypoint.Input("photo_poses", tooltip="The pose of the photo, from Extract Poses."),
                io.Int.Input(
                    "frames",
                    default=AUTO,
                    min=AUTO,
                    max=1000,
                    tooltip="Number of frames before the dance. -1 = automatic, from the speed of the dance. 0 = "
                    "none. Multiples of 4 suit the model.",
                ),
            ],
            outputs=[
                PoseKeypoint.Output("poses_out", display_name="poses", tooltip="The lead-in followed by the dance."),
                io.Int.Output("lead_in", tooltip="Number of frames added before the dance, for Trim Lead-in."),
            ],
        )

    @classmethod
    def execute(cls, poses: list, photo_poses: list, frames: int) -> io.NodeOutput:
        clip = read_poses(poses)
        led = lead_in(clip, read_poses(photo_poses), frames)
        count = led.frames - clip.frames
        text = f"Lead-in: {count} frames, then {clip.frames} of the dance."
        return io.NodeOutput(to_keypoints(led) if count else poses, count, ui=show_text(text))


class TrimLeadIn(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerTrimLeadIn",
            display_name="Trim Lead-in",
            category="SteadyDancer/video",
            description=(
                "Takes the frames of the lead-in off the finished video, or keeps them and starts the audio with "
                "the dance."
            ),
            search_aliases=["cut start", "delay audio", "start gap"],
            inputs=TRIM_INPUTS,
            outputs=[
                io.Image.Output(
                    "images_out", display_name="images", tooltip="The frames, for Video Combine (SteadyDancer)."
                ),
                io.Audio.Output("audio_out", display_name="audio", tooltip="The audio, in sync with the dance."),
                io.Video.Output("video_out", display_name="video", tooltip="The frames, if video is connected."),
            ],
        )

    @classmethod
    def execute(
        cls,
        images: Tensor | None = None,
        lead_in: int = 0,
        mode: str = TRIM,
        fps: float = MODEL_FPS,
        audio: Input.Audio | None = None,
        video: Input.Video | None = None,
    ) -> io.NodeOutput:
        clip = connected_clip("Trim Lead-in", images, video)
        if mode == KEEP:
            images_out, video_out = clip.outputs(clip.frames, clip.audio)
            return io.NodeOutput(images_out, delay_audio(audio, lead_in / fps), video_out)
        own_audio = cut_audio(clip.audio, float(lead_in / clip.fps))
        images_out, video_out = clip.outputs(trim(clip.frames, lead_in), own_audio)
        return io.NodeOutput(images_out, audio, video_out)


TRIM_INPUTS: list[io.Input] = [
    io.Image.Input(
        "images", optional=True, tooltip="The decoded frames of the video, lead-in and dance. Or connect video."
    ),
    io.Int.Input("lead_in", default=0, min=0, max=1000, tooltip="Number of lead-in frames, from Lead-in."),
    io.Combo.Input(
        "mode",
        options=[TRIM, KEEP],
        tooltip="trim: drop the lead-in and leave the audio as it is. keep: show the lead-in, with silence before the "
        "audio.",
    ),
    fps_input("Frames per second of the video: what Video Combine (SteadyDancer) gets."),
    io.Audio.Input("audio", optional=True, tooltip="The audio of the dance, from Extract Poses or Best Start."),
    video_instead(),
]


class BestStart(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerBestStart",
            display_name="Best Start",
            category="SteadyDancer/pose",
            description=(
                "Finds the frame whose pose is closest to the photo's, and starts the dance and its audio there."
            ),
            search_aliases=["start frame", "nearest pose", "start gap", "match pose"],
            inputs=START_INPUTS,
            outputs=[
                PoseKeypoint.Output("poses_out", display_name="poses", tooltip="The dance from that frame on."),
                io.Int.Output("start_frame", tooltip="The frame the dance starts from. 0 is the first."),
                io.Audio.Output("audio_out", display_name="audio", tooltip="The audio from that frame on."),
                io.String.Output("report", tooltip="The closest frames and their distance to the photo's pose."),
            ],
        )

    @classmethod
    def execute(
        cls, poses: list, photo_poses: list, search_frames: int, fps: float, audio: Input.Audio | None = None
    ) -> io.NodeOutput:
        clip = read_poses(poses)
        start, distances = best_start(clip, read_poses(photo_poses), search_frames)
        text = start_text(start, distances, clip.frames, fps)
        result = to_keypoints(clip.at(slice(start, None))) if start else poses
        return io.NodeOutput(result, start, cut_audio(audio, start / fps), text, ui=show_text(text))


START_INPUTS: list[io.Input] = [
    PoseKeypoint.Input("poses", tooltip="The dance, from Extract Poses, Refine Poses or Align Poses."),
    PoseKeypoint.Input("photo_poses", tooltip="The pose of the photo, from Extract Poses."),
    io.Int.Input(
        "search_frames",
        default=48,
        min=0,
        max=1000000,
        tooltip="Search only this many frames from the start, so that little of the dance is lost. 0 searches the "
        "whole clip.",
    ),
    fps_input("Poses per second, from Extract Poses. Used to cut the audio."),
    io.Audio.Input("audio", optional=True, tooltip="The audio of the driving video, from Extract Poses."),
]


def start_text(start: int, distances: np.ndarray, frames: int, fps: float) -> str:
    """Return the report: the chosen frame, what is left of the dance, and the nearest frames."""
    order = distances.argsort(kind="stable")[:LISTED].tolist()
    rows = [f"frame {i}: distance {distances[i]:.3f}" for i in order if np.isfinite(distances[i])]
    left = f"{frames - start} of {frames} frames are left."
    return "\n".join([f"Start at frame {start}, {start / fps:.2f} s. {left}", *rows])


def trim(images: FrameSource, lead_in: int) -> FrameSource:
    """Return frames [F, H, W, 3] without the first `lead_in`; ValueError if none would be left."""
    if lead_in >= len(images):
        raise ValueError(
            f"The video has {len(images)} frames, and {lead_in} of them are to be cut off: nothing is left. Connect "
            "the images of VAE Decode and the lead_in of Lead-in, and give the model more frames than the lead-in has."
        )
    return images[lead_in:] if isinstance(images, Tensor) else Spliced(images[:0], images, lead_in)


def delay_audio(audio, seconds: float) -> dict | None:
    """Return AUDIO after some seconds of silence; None stays None."""
    if audio is None:
        return None
    audio = to_audio(audio)
    silence = round(seconds * audio["sample_rate"])
    return {**audio, "waveform": pad(audio["waveform"], (silence, 0))}


NODES = [RefinePoses, BestStart, LeadIn, TrimLeadIn]
