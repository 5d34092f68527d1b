"""The playable preview of a dance inside the node that made it: see dwpose/edit/dance_preview.py."""

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from comfy_api.latest import io, ui

from ...dwpose.edit.dance_preview import Dance, describe_match, draw_preview, preview_size, preview_stride
from ...dwpose.pipeline import FrameStream, Poses
from ...media.log import logger
from ...media.streamed_frames import StreamedFrames
from ...media.video_formats import AAC, FORMATS, has_encoder
from ...media.video_writer import Settings, VideoWriteError, write_video
from .node_text import show_text
from .output_file import output_names, saved_result
from .pose_detection import node_callbacks

PREFIX = "steadydancer_preview/dance"
FORMAT_NAME = "MP4 H.264"  # which every browser plays
FORMAT, SETTINGS = FORMATS[FORMAT_NAME], Settings(FORMAT_NAME)
NO_PREVIEW: dict[str, tuple] = {"images": (), "animated": (), "preview_size": ()}


def show_dance(
    poses: Poses,
    photo: FrameStream,
    video: FrameStream,
    kept: tuple[float, float],
    audio: dict | None,
    report: str,
    shown: str,
) -> dict:
    """Return the UI output with the preview as a video with sound, under it what it proves and `shown` of the report.

    photo, video: what the poses are from; the video is read once more, frame by frame. kept: the fractions of the
    photo's (width, height) that the pose frames show. Where the temp folder takes no file, only the text is shown.
    """
    with contextlib.closing(iter(photo)) as pictures:
        still = photo.displayed(next(pictures))
    dance = Dance(still, kept, poses.photo, poses.seen, poses.dance, poses.clip, poses.lead_in, poses.alignment.anchors)
    text = "\n".join([*describe_match(dance), shown])
    with contextlib.closing(iter(video)) as frames:
        player = _write(dance, frames, video, audio)
    return {**player, **show_text(report, shown=text).as_dict()}


def _write(dance: Dance, frames: Iterator[np.ndarray], video: FrameStream, audio: dict | None) -> dict:
    """Return the UI output that plays the preview; empty where it cannot be written, which the log says.

    All its keys are there in any case: ComfyUI joins the outputs of a node that runs on a list by the first one's.
    """
    if not has_encoder(FORMAT.encoders[0].name):
        logger.warning("No preview of the dance: the installed PyAV has no encoder for %s.", FORMAT_NAME)
        return NO_PREVIEW
    stride, size = preview_stride(dance.aligned.frames), preview_size(dance)
    images = StreamedFrames(draw_preview(dance, frames, video.displayed), -(-dance.aligned.frames // stride), size)
    sound = None
    if audio is not None and has_encoder(AAC.encoder):
        sound = audio
        if dance.lead_in:
            silence = round(dance.lead_in / video.fps * audio["sample_rate"])
            sound = {**audio, "waveform": torch.nn.functional.pad(audio["waveform"], (silence, 0))}
    try:
        names = output_names(PREFIX, f".{FORMAT.container}", *size, io.FolderType.temp)
        path = write_video(names, images, video.fps / stride, SETTINGS, sound, node_callbacks().progress)
    except (OSError, VideoWriteError) as error:
        logger.warning("No preview of the dance: %s", error)
        return NO_PREVIEW
    shown = ui.PreviewVideo([saved_result(path, io.FolderType.temp)]).as_dict()
    return {**shown, "preview_size": size}  # for web/reports.js
