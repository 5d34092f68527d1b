"""Frames and sound to a video file, and to the player in the node."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import folder_paths
from comfy.cli_args import args
from comfy.model_management import throw_exception_if_processing_interrupted
from comfy.utils import ProgressBar
from comfy_api.latest import Input, InputImpl, Types, io, ui
from torch import Tensor

from ..media.atomic_write import Numbered
from ..media.frame_source import FrameSource
from ..media.frames import to_rgb
from ..media.log import logger
from ..media.saved_clips import SavedClips, clip_key
from ..media.side_by_side import SideBySide
from ..media.video_formats import DEFAULT_CRF, FORMATS, PIXEL_FORMATS, format_named, frame_rate
from ..media.video_writer import Settings, write_failure, write_video
from .common.frames_video import FramesVideo, taken_clip
from .common.output_file import check_prefix, output_names, root_of, saved_result
from .common.search_words import SAVE_VIDEO

OFF, BESIDE = "off", "side by side"
LONGEST_ENDING = max((f".{row.container}" for row in FORMATS.values()), key=len)
CRF_DEFAULTS = ", ".join(f"{name} {row.crf.default}" for name, row in FORMATS.items() if row.crf)


class VideoCombine(io.ComfyNode):
    """IMAGE, fps and AUDIO to a file under output/ or temp/."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerVideoCombine",
            display_name="Video Combine (SteadyDancer)",
            category="SteadyDancer/video",
            description="Writes frames and audio to a video file, plays it in the node, and stores the workflow in "
            "the file.",
            search_aliases=["save video", "export video", "video combine", "gif", "webm", "mp4", *SAVE_VIDEO],
            is_output_node=True,
            inputs=[*_clip_inputs(), *_file_inputs()],
            outputs=[
                io.Video.Output(
                    "video",
                    tooltip="The finished video. ComfyUI cannot load GIF and WebP as video; for these it is the input "
                    "frames, without ping-pong, loop and pose.",
                ),
                io.String.Output("path", tooltip="Path of the file on the machine that runs ComfyUI."),
            ],
        )

    @classmethod
    def validate_inputs(cls, filename_prefix: str | None = None) -> bool | str:
        # Not save_output too: ComfyUI would repeat the message for it.
        return check_prefix(filename_prefix, LONGEST_ENDING)

    @classmethod
    def execute(
        cls,
        images: Tensor | Input.Video,
        fps: float,
        format: str,
        crf: int,
        pixel_format: str,
        ping_pong: bool,
        loop: int,
        filename_prefix: str,
        save_output: bool,
        save_metadata: bool,
        audio: Input.Audio | None = None,
        pose_frames: Tensor | None = None,
        show_pose: str = OFF,
    ) -> io.NodeOutput:
        clip = taken_clip(images)
        sound = audio if audio is not None else clip.audio
        shown = _with_pose(clip.frames, pose_frames, show_pose)
        metadata = {}
        if save_metadata and not args.disable_metadata and cls.hidden:
            # ComfyUI's frontend looks for these tags: "workflow" and "prompt".
            tags = {**(cls.hidden.extra_pnginfo or {}), "prompt": cls.hidden.prompt}
            metadata = {name: json.dumps(value) for name, value in tags.items() if value is not None}
        settings = Settings(format, crf, pixel_format, ping_pong, loop, metadata)
        kind = io.FolderType.output if save_output else io.FolderType.temp
        try:
            ending, (_, height, width, _) = f".{format_named(format).container}", shown.shape
            names = output_names(filename_prefix, ending, width, height, kind)
        except OSError as error:
            raise write_failure(Path(root_of(kind), filename_prefix), error) from error
        path = _saved_once(names, shown, fps, settings, sound)
        if FORMATS[format].is_video:
            result = InputImpl.VideoFromFile(str(path))
        elif isinstance(clip.frames, Tensor):
            frames = Types.VideoComponents(
                images=to_rgb(clip.frames), audio=cast(Input.Audio | None, sound), frame_rate=frame_rate(fps, format)
            )
            result = InputImpl.VideoFromComponents(frames)
        else:
            result = FramesVideo(clip.frames, frame_rate(fps, format), sound)
        # A GIF must not be marked as animated: the frontend would show an empty video element.
        player = ui.SavedImages if ending == ".gif" else ui.PreviewVideo
        return io.NodeOutput(result, str(path), ui=player([saved_result(path, kind)]))


def _clip_inputs() -> list[io.Input]:
    return [
        # Both kinds by one input: Nodes 2.0 shows the pictures of a node that has a VIDEO input, a GIF too, as video.
        io.MultiType.Input(
            "images",
            [io.Image, io.Video],
            tooltip="The frames, as images or video. An alpha channel is dropped, gray becomes RGB. A video is written "
            "at fps, with its own audio if audio is not connected.",
        ),
        io.Float.Input(
            "fps",
            default=16.0,
            min=0.01,
            max=240.0,
            step=0.01,
            tooltip="Frames per second. Connect the fps of Extract Poses or Poses From Video: 16, whatever the frame "
            "rate of the driving video. 23.976, 29.97 and 59.94 are written as exact fractions. GIF goes up to 50, "
            "WebP up to 90.",
        ),
        io.Combo.Input(
            "format",
            options=list(FORMATS),
            tooltip="MP4 H.264 plays everywhere. H.265 and AV1 are smaller but slower to write, and not every browser "
            "plays them. GIF and WebP are animated pictures without audio; a GIF has 256 colors.",
        ),
        io.Int.Input(
            "crf",
            default=DEFAULT_CRF,
            min=DEFAULT_CRF,
            max=100,
            tooltip="Quality: lower is finer and larger. -1 takes the format's own default "
            f"({CRF_DEFAULTS}). GIF has none and ignores it.",
        ),
        io.Combo.Input(
            "pixel_format",
            options=list(PIXEL_FORMATS),
            tooltip="auto is yuv420p, which every player shows. GIF and WebP take only auto. 444 keeps color edges "
            "sharp, 10le has 10 bits for smooth gradients. Many players and browsers show neither in H.264.",
        ),
        io.Boolean.Input("ping_pong", default=False, tooltip="Play forward, then backward: F frames become 2F - 2."),
        io.Int.Input(
            "loop",
            default=0,
            min=0,
            max=1000,
            tooltip="0: GIF and WebP loop forever, a video contains the clip once. n: GIF and WebP play n times, a "
            "video contains the clip n times in a row.",
        ),
    ]


def _file_inputs() -> list[io.Input]:
    return [
        io.String.Input(
            "filename_prefix",
            default="video/SteadyDancer",
            tooltip="Name of the file, with subfolders if you like. %year%, %month%, %day%, %hour%, %minute%, "
            "%second%, %width% and %height% are filled in. A number is added, so nothing is overwritten.",
        ),
        io.Boolean.Input(
            "save_output",
            default=True,
            label_on="save",
            label_off="preview only",
            tooltip="Save to the output folder, or only preview: the file goes to the temp folder, which ComfyUI "
            "empties when it starts.",
        ),
        io.Boolean.Input(
            "save_metadata",
            default=True,
            tooltip="Store the workflow in the file: drag the file into ComfyUI to restore the graph. Not possible "
            "for GIF.",
        ),
        io.Audio.Input(
            "audio",
            optional=True,
            tooltip="Soundtrack, cut or padded with silence to the length of the video. GIF and WebP have no audio.",
        ),
        # Saved prompts without these two still run: they stand last.
        io.Image.Input(
            "pose_frames",
            optional=True,
            tooltip="The skeleton frames the video was made from, for show_pose. At least as many as images.",
        ),
        io.Combo.Input(
            "show_pose",
            options=[OFF, BESIDE],
            default=OFF,
            optional=True,
            tooltip="side by side: put the pose frame to the right of each frame, to see how well the video follows "
            "the dance. off: only the frames.",
        ),
    ]


def _with_pose(images: FrameSource, pose_frames: Tensor | None, show_pose: str) -> FrameSource | SideBySide:
    """Return the frames to write: `images` [F, H, W, C] as they are, or twice as wide with their pose."""
    if isinstance(images, Tensor):
        to_rgb(images)  # refuses what is no IMAGE, before its size is read
    if show_pose == OFF:
        return images
    if pose_frames is None:
        raise ValueError(
            "show_pose is on, but nothing is connected to pose_frames. Connect the pose_frames of 'Draw Poses' or "
            "'Poses From Video', or set show_pose to off."
        )
    return SideBySide(images, pose_frames)


def _saved_once(
    names: Numbered, images: FrameSource | SideBySide, fps: float, settings: Settings, audio: Mapping | None
) -> Path:
    """Return the file of the clip: the one that holds it already, else a new one."""
    decisive = settings._replace(metadata=dict.fromkeys(sorted(settings.metadata), ""))
    heard = audio if FORMATS[settings.format].is_video else None
    key = clip_key(images, heard, fps, decisive, str(names.folder), names.prefix)
    saved = SavedClips(Path(folder_paths.get_user_directory(), "steadydancer", "clips"))
    path = saved.find(key)
    if path:
        logger.info("Video Combine: nothing changed, so the clip is not saved again. It is in %s.", path)
        return path
    path = write_video(names, images, fps, settings, audio, _on_frame())
    saved.remember(key, path)
    return path


def _on_frame():
    bar = ProgressBar(1)

    def on_frame(done: int, total: int) -> None:
        throw_exception_if_processing_interrupted()
        bar.update_absolute(done, total)

    return on_frame


NODES = [VideoCombine]
