"""The preview of an aligned dance, frame by frame: the driving video with the skeletons found, beside it the photo with
the aligned skeletons.

Where the two meet, the pose that was found in the photo is drawn too, in white: what lies on it matches.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..bright_skeleton import Color, draw_bright
from ..packages.opencv import import_cv2
from ..poses import HIPS, NECK, SHOULDERS, PoseClip, Track
from ..skeleton import metric
from ..track.preview import write_number
from ..track.tracklets import person_box

BOX = 508, 720  # the most pixels across and down of one picture; it is enlarged to fit, too
GAP, LEAST_WIDTH = 8, 512
MAX_FRAMES = 480  # of a preview: half a minute at 16 fps; a longer dance is thinned
MEETING_FRAMES = 8  # that show the photo's own pose, from where the two meet
WHITE, GRAY, BACKGROUND = (255, 255, 255), (150, 150, 150), (24, 24, 28)
FRAME_COLOR, DIMMED = (255, 220, 60), 0.3  # of the edge of the crop, and the brightness of what is cut off
UNDERLAY = 1.8  # how much wider the photo's own pose is than the skeleton on it, so that both are seen
MATCHED = {"neck": [NECK], "shoulders": SHOULDERS, "hips": HIPS}


class Dance(NamedTuple):
    """What a preview shows.

    photo: uint8 [H, W, 3] RGB. kept: the fractions of its (width, height), about its center, that the pose frames show.
    in_photo, in_video: everybody found there. followed: those of the video whose dance it is, as it is used.
    aligned: their dance fitted to the photo, after `lead_in` more frames. anchors: the frame of `followed` in which
    each person meets the photo.
    """

    photo: np.ndarray
    kept: tuple[float, float]
    in_photo: PoseClip
    in_video: PoseClip
    followed: PoseClip
    aligned: PoseClip
    lead_in: int
    anchors: list[int]


class Layout(NamedTuple):
    """Size (width, height) of the preview, an even number of pixels, and of both pictures in it."""

    size: tuple[int, int]
    video: tuple[int, int]
    photo: tuple[int, int]


def arrange(video: tuple[int, int], photo: tuple[int, int]) -> Layout:
    """Return the layout for a video and a photo of these sizes (width, height): each as large as its half allows."""
    sizes = []
    for width, height in (video, photo):
        scale = min(BOX[0] / width, BOX[1] / height)
        sizes.append((max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)))
    (video_width, video_height), (photo_width, photo_height) = sizes
    width = max(LEAST_WIDTH, video_width + GAP + photo_width)
    return Layout((width, max(video_height, photo_height)), *sizes)


def preview_stride(frames: int) -> int:
    """Return n where every nth frame of the dance is shown, so that a preview has at most MAX_FRAMES."""
    return -(-frames // MAX_FRAMES)


def preview_size(dance: Dance) -> tuple[int, int]:
    """Return (width, height) of the preview in pixels, both even."""
    return _layout(dance).size


def _layout(dance: Dance) -> Layout:
    return arrange((dance.in_video.width, dance.in_video.height), (dance.photo.shape[1], dance.photo.shape[0]))


def draw_preview(
    dance: Dance, frames: Iterator[np.ndarray], displayed: Callable[[np.ndarray], np.ndarray]
) -> Iterator[np.ndarray]:
    """Yield every `preview_stride`th frame of the preview, uint8 [H, W, 3] RGB.

    frames: those of the video, uint8 [h, w, 3] RGB, of which only one is held. displayed: makes of a frame what a
    screen shows of it. The first frame stands still during the lead-in, the last one if the video ends early.
    """
    layout = _layout(dance)
    still = _resized(dance.photo, layout.photo)
    _draw_crop(still, dance.kept)
    read, frame = 0, np.zeros((2, 2, 3), np.uint8)
    for index in range(0, dance.aligned.frames, preview_stride(dance.aligned.frames)):
        at = max(0, index - dance.lead_in)
        while read <= at:
            frame, read = next(frames, frame), read + 1
        picture = np.full((layout.size[1], layout.size[0], 3), BACKGROUND, np.uint8)
        video = displayed(_resized(frame, layout.video))
        _draw_found(video, dance, at)
        photo = still.copy()
        _draw_aligned(photo, dance, index)
        _place(picture, video, 0)
        _place(picture, photo, layout.size[0] - photo.shape[1])
        yield picture


def _resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    cv2 = import_cv2()

    shrinks = size[0] < picture.shape[1]
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def _place(canvas: np.ndarray, picture: np.ndarray, left: int) -> None:
    height, width = picture.shape[:2]
    top = (len(canvas) - height) // 2
    canvas[top : top + height, left : left + width] = picture


def _draw_crop(photo: np.ndarray, kept: tuple[float, float]) -> None:
    """Darken what the pose frames do not show of the photo, and draw their edge."""
    if kept == (1.0, 1.0):
        return
    cv2 = import_cv2()

    size = np.array(photo.shape[1::-1])
    low, high = (np.rint(size * (1 + side * np.array(kept)) / 2).astype(int).tolist() for side in (-1, 1))
    inside = photo[low[1] : high[1], low[0] : high[0]].copy()
    photo[:] = photo * DIMMED
    photo[low[1] : high[1], low[0] : high[0]] = inside
    cv2.rectangle(photo, low, [high[0] - 1, high[1] - 1], FRAME_COLOR, 2)


def _draw_found(video: np.ndarray, dance: Dance, frame: int) -> None:
    """Draw everybody found in the frame, those who are followed in color; of several people their numbers too."""
    followed = {track.identity for track in dance.followed.tracks}
    others = [track for track in dance.in_video.people if track.identity not in followed]
    for track in others:
        if track.present[frame]:
            draw_bright(video, track, frame, GRAY)
    for track in dance.followed.tracks:
        draw_bright(video, track, frame)
    if len(dance.in_video.people) > 1:
        _write_numbers(video, others, frame, GRAY)
        _write_numbers(video, dance.followed.tracks, frame, WHITE)


def _draw_aligned(photo: np.ndarray, dance: Dance, index: int) -> None:
    """Draw the dance in frame `index` of the preview, and under it the photo's own pose where they meet."""
    lasts = max(MEETING_FRAMES, preview_stride(dance.aligned.frames))
    meetings = {0, *(dance.lead_in + anchor for anchor in dance.anchors)}
    if any(0 <= index - start < lasts for start in meetings):
        for track in dance.in_photo.people:
            draw_bright(photo, track, 0, WHITE, UNDERLAY)
    for track in dance.aligned.tracks:
        draw_bright(photo, track, index)
    if len(dance.in_photo.people) > 1:
        _write_numbers(photo, dance.in_photo.people, 0, WHITE)


def _write_numbers(picture: np.ndarray, tracks: Sequence[Track], frame: int, color: Color) -> None:
    size = picture.shape[1::-1]
    for track in tracks:
        if track.present[frame]:
            write_number(picture, track.number, person_box(track.points[frame] * size, track.scores[frame]), color)


def describe_match(dance: Dance) -> list[str]:
    """Return for each person how far neck, shoulders and hips are from the photo's where they meet."""
    aspect = dance.aligned.width / dance.aligned.height
    lines = []
    for track, anchor in zip(dance.aligned.tracks, dance.anchors, strict=True):
        frame = dance.lead_in + anchor
        person = min(dance.in_photo.people, key=lambda person: _distance(person, track, frame, aspect, [NECK]))
        found = {part: _distance(person, track, frame, aspect, joints) for part, joints in MATCHED.items()}
        distances = ", ".join(f"{part} {100 * value:.0f} %" for part, value in found.items() if np.isfinite(value))
        who = f"Person {track.number}, frame" if len(dance.aligned.tracks) > 1 else "Frame"
        if distances:
            lines.append(f"{who} {frame + 1}, off the photo's own pose (white): {distances} of the frame height.")
    lines.append("Neck, shoulders and hips should match there. Arms and legs follow the dance.")
    return lines


def _distance(person: Track, track: Track, frame: int, aspect: float, joints: list[int]) -> float:
    """Return the mean distance in frame heights of the joints seen in both; infinity for none."""
    both = person.visible[0, joints] & track.visible[frame, joints]
    gaps = np.linalg.norm(metric(person.points[0, joints] - track.points[frame, joints], aspect), axis=-1)[both]
    return float(gaps.mean()) if len(gaps) else np.inf
