"""VIDEO whose frames are read one at a time, as those of a long video on disk, and nodes that take IMAGE or VIDEO."""

import json
import shutil
import tempfile
import uuid
import weakref
from collections.abc import Mapping
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import NamedTuple, cast

import folder_paths
from comfy_api.latest import Input, Types, io
from comfy_execution.graph_utils import ExecutionBlocker
from torch import Tensor

from ...media.audio_input import cut_audio
from ...media.frame_size import MODEL_FPS
from ...media.frame_source import FrameSource, Spliced
from ...media.frames import size_of
from ...media.video_formats import AUTO, DEFAULT_CRF
from ...media.video_writer import Settings, write_video

FORMAT = "MP4 H.264"
NO_IMAGES = (
    "This node gives its frames as video. Connect its video output instead, or ComfyUI's Get Video Components to that "
    "output, which holds all frames in memory."
)
NO_VIDEO = "This node gives its frames as images. Connect its images output instead."


class FramesVideo(Input.Video):
    """ComfyUI's VIDEO of a FrameSource, which is read frame by frame; only its components are the whole clip."""

    def __init__(self, frames: FrameSource, fps: float | Fraction = MODEL_FPS, audio: Mapping | None = None):
        self.frames, self.fps, self.audio = frames, Fraction(fps), audio
        self._written: Path | None = None

    def get_components(self) -> Types.VideoComponents:
        return Types.VideoComponents(
            images=self.frames[:], audio=cast(Input.Audio | None, self.audio), frame_rate=self.fps
        )

    def get_dimensions(self) -> tuple[int, int]:
        return size_of(self.frames)

    def get_frame_count(self) -> int:
        return len(self.frames)

    def get_frame_rate(self) -> Fraction:
        return self.fps

    def get_duration(self) -> float:
        return float(len(self.frames) / self.fps)

    def get_container_format(self) -> str:
        return "mp4"

    def get_stream_source(self) -> str:
        """Return the path of an MP4 of these frames, removed with this object."""
        if self._written is None or not self._written.is_file():
            folder = temp_folder()
            folder.mkdir(parents=True)
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            self._written = self._write(folder, Settings(FORMAT))
        return str(self._written)

    def save_to(
        self, path, format=Types.VideoContainer.AUTO, codec=Types.VideoCodec.AUTO, metadata: Mapping | None = None,
        bit_depth: int | None = None, crf: float | None = None, **_,
    ) -> None:  # fmt: skip
        """Write MP4 in H.264 to a path or BytesIO; ValueError for anything else."""
        if format not in ("auto", "mp4") or codec not in ("auto", "h264"):
            raise ValueError(f"This video is saved as MP4 in H.264, not as {format} in {codec}. Choose auto for both.")
        tags = {name: json.dumps(value) for name, value in (metadata or {}).items()}
        quality = DEFAULT_CRF if crf is None else round(crf)
        settings = Settings(FORMAT, quality, "yuv420p10le" if (bit_depth or 8) > 8 else AUTO, metadata=tags)
        with tempfile.TemporaryDirectory(dir=folder_paths.get_temp_directory()) as folder:
            written = self._write(Path(folder), settings)
            if isinstance(path, BytesIO):
                path.write(written.read_bytes())
            else:
                shutil.move(written, path)

    def as_trimmed(
        self, start_time: float | None = None, duration: float | None = None, strict_duration: bool = True
    ) -> "FramesVideo | None":
        """Return these frames from `start_time` on, counted from the end if below 0; 0 seconds last to the end."""
        total, seconds = len(self.frames), duration or 0
        start = round((start_time or 0) * self.fps)
        first = max(0, total + start) if start < 0 else start
        stop = min(total, first + round(seconds * self.fps)) if seconds else total
        if first >= total or (strict_duration and (stop - first) / self.fps < seconds):
            return None
        frames = Spliced(self.frames[:0], self.frames, first, stop)
        return FramesVideo(frames, self.fps, cut_audio(self.audio, float(first / self.fps)))

    def _write(self, folder: Path, settings: Settings) -> Path:
        return write_video([folder / "video.mp4"], self.frames, float(self.fps), settings, self.audio)


class ConnectedClip(NamedTuple):
    """What is connected to a node that takes images or video. fps, audio: of a video."""

    frames: FrameSource
    is_video: bool = False
    fps: Fraction = Fraction(MODEL_FPS)
    audio: Mapping | None = None

    def outputs(self, frames: FrameSource, audio: Mapping | None = None) -> tuple:
        """Return `frames` as the node's IMAGE and VIDEO; the kind that was not connected stops what is behind it."""
        if self.is_video:
            return ExecutionBlocker(NO_IMAGES), FramesVideo(frames, self.fps, audio)
        return frames, ExecutionBlocker(NO_VIDEO)


def video_instead() -> io.Input:
    """Return the input for a VIDEO in the place of images, the last one of a node; see `connected_clip`."""
    return io.Video.Input(
        "video",
        optional=True,
        tooltip="A video instead of images: that of SteadyDancer Sampler (any length) is read frame by frame.",
    )


def connected_clip(node: str, images: Tensor | None, video: Input.Video | None) -> ConnectedClip:
    """Return the one that is connected, see `taken_clip`; ValueError for none and for both."""
    if images is not None and video is None:
        return taken_clip(images)
    if video is not None and images is None:
        return taken_clip(video)
    found = "neither images nor video" if images is None else "both images and video"
    raise ValueError(f"{node} has {found} connected. Connect exactly one of the two.")


def taken_clip(images: Tensor | Input.Video) -> ConnectedClip:
    """Return what IMAGE or VIDEO holds; a VIDEO that is none of ours is read into memory."""
    if isinstance(images, FramesVideo):
        return ConnectedClip(images.frames, True, images.fps, images.audio)
    if isinstance(images, Input.Video):
        parts = images.get_components()
        return ConnectedClip(parts.images, True, parts.frame_rate, parts.audio)
    return ConnectedClip(images)


def temp_folder() -> Path:
    """Return the path of a new folder for frames, not made yet, in ComfyUI's temp folder, which it empties."""
    return Path(folder_paths.get_temp_directory(), "steadydancer_frames", uuid.uuid4().hex)
