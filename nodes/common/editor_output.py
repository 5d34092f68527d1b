"""The UI output from which web/pose_editor.js opens the pose editor and draws how far people turn."""

from av import FFmpegError
from comfy_api.latest import Input
from torch import Tensor

from ...dwpose.edit.align import Alignment
from ...dwpose.edit.corrections import with_necks
from ...dwpose.poses import PoseClip
from ...media.log import logger
from .editor_files import facing_file, images_file, poses_file, video_file

KEY = "pose_editor"


def show_editor(
    name: str,
    clip: PoseClip,
    result: PoseClip,
    fps: float,
    images: Tensor | None = None,
    video: Input.Video | None = None,
) -> dict:
    """Return the UI output with which the page edits `clip` over images or video, at fps poses per second.

    name: of the node, for the log. result: the poses of the run, whose turns are shown. Where a file cannot be written:
    why, which is a warning too.
    """
    try:
        shown = {"poses": poses_file(clip), "facing": facing_file(result), "fps": fps}
    except (OSError, ValueError) as error:
        logger.warning("%s: the editor cannot be opened. %s", name, error)
        return {KEY: [{"error": str(error)}]}
    try:
        if images is not None:
            shown["background"] = images_file(images, fps)
        elif video is not None:
            shown["background"] = video_file(video)
    except (OSError, ValueError, FFmpegError) as error:
        logger.warning("%s: nothing is shown behind the poses. %s", name, error)
    return {KEY: [shown]}


def show_alignment_editor(
    name: str,
    photo: Tensor,
    alignment: Alignment,
    corrections: dict[str, float],
    fps: float,
    lead_in: int = 0,
) -> dict:
    """Return the UI output with which the page corrects an alignment over its photo, IMAGE [B, H, W, C].

    It gets the poses before the corrections, each person's anchor frame, and the `corrections` of the run by the names
    of their inputs. lead_in: how many frames the preview in the node has before them.
    """
    clip = alignment.uncorrected
    aspect = clip.width / clip.height
    clip = clip.with_tracks([with_necks(track, aspect) for track in clip.tracks])
    output = show_editor(name, clip, alignment.clip, fps, photo[:1])
    anchors = {track.number: anchor for track, anchor in zip(clip.tracks, alignment.anchors, strict=True)}
    output[KEY][0] |= {"corrections": corrections, "anchors": anchors, "lead_in": lead_in}
    return output
