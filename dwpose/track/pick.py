"""One person out of everybody in a clip: the main one, the middle one, by number, from the left, or near a point.

Boxes are those of the joints seen (`track.person_box`).
"""

from collections.abc import Callable, Sequence

import numpy as np

from ..poses import PoseClip, Track
from .tracklets import person_box

ALL = "all"
MAX_RANGES = 4  # of frames, that an error lists


def pick(clip: PoseClip, rule: str, index: int = 0, x: float = 0.5, y: float = 0.5, frame: int = 0) -> PoseClip:
    """Return the clip with the one person whom the rule names, or with everybody for "all".

    rule: "largest" is who is seen most and largest (`main_person`), "centre" who is nearest to the middle of the
    picture on average over the frames in which they are seen. "number" is the person whose number is `index`, as the
    preview and the report name people. "index" counts the people of the anchor frame `frame` from the left, 0 being the
    leftmost. "nearest" is the nearest in that frame to the point x, y as fractions of width and height.
    ValueError for an unknown rule, a frame outside the clip or without anybody, and a number that nobody has.
    """
    if rule not in RULES:
        raise ValueError(f"Unknown rule '{rule}' to pick a person. Choose one of {', '.join(RULES)}.")
    choose = RULES[rule]
    if choose is None:
        return clip
    _check_anybody(clip)
    return clip.with_tracks([choose(clip, index, x, y, frame)])


def main_person(clip: PoseClip) -> Track:
    """Return the person who is seen most and largest: of the greatest area, summed over the frames.

    ValueError if there is nobody.
    """
    _check_anybody(clip)
    return main_people(clip, clip.tracks, 1)[0]


def main_people(clip: PoseClip, tracks: Sequence[Track], count: int) -> list[Track]:
    """Return the `count` of `tracks` who are seen most and largest, the main one first."""

    def area(track: Track) -> float:
        boxes = _boxes(clip, track)
        return np.nansum((boxes[:, 2:] - boxes[:, :2]).prod(1))

    return sorted(tracks, key=area, reverse=True)[:count]


def _center(clip: PoseClip, *_) -> Track:
    return min(clip.people, key=lambda track: np.nanmean(_distances(clip, track, 0.5, 0.5)))


def _by_number(clip: PoseClip, number: int, *_) -> Track:
    people = {track.number: track for track in clip.people}
    if number not in people:
        raise ValueError(
            f"There is no person {number}: the people here have the numbers {', '.join(map(str, sorted(people)))}. "
            "Look at the numbers in the preview."
        )
    return people[number]


def _by_index(clip: PoseClip, index: int, _x: float, _y: float, frame: int) -> Track:
    people = sorted(_people_of(clip, frame), key=lambda track: _middles(clip, track)[frame, 0])
    if not 0 <= index < len(people):
        numbers = "0" if len(people) == 1 else f"0 to {len(people) - 1}"
        raise ValueError(
            f"No person has index {index} in frame {frame}, where {len(people)} can be seen: index counts them from 0 "
            f"at the left. Choose {numbers}, or another frame."
        )
    return people[index]


def _nearest(clip: PoseClip, _index: int, x: float, y: float, frame: int) -> Track:
    return min(_people_of(clip, frame), key=lambda track: _distances(clip, track, x, y)[frame])


RULES: dict[str, Callable[..., Track] | None] = {
    "largest": lambda clip, *_: main_person(clip),
    "centre": _center,
    "number": _by_number,
    "index": _by_index,
    "nearest": _nearest,
    ALL: None,
}


def _boxes(clip: PoseClip, track: Track) -> np.ndarray:
    """Return [F, 4] in pixels: left, top, right, bottom; NaN where the person is not seen."""
    return person_box(track.points * (clip.width, clip.height), track.scores)


def _middles(clip: PoseClip, track: Track) -> np.ndarray:
    boxes = _boxes(clip, track)
    return (boxes[:, 2:] + boxes[:, :2]) / 2


def _distances(clip: PoseClip, track: Track, x: float, y: float) -> np.ndarray:
    return np.linalg.norm(_middles(clip, track) - (x * clip.width, y * clip.height), axis=1)


def _people_of(clip: PoseClip, frame: int) -> list[Track]:
    """Return those who are seen in the anchor frame."""
    if not 0 <= frame < clip.frames:
        raise ValueError(f"Frame {frame} is outside the clip, which has the frames 0 to {clip.frames - 1}.")
    people = [track for track in clip.tracks if track.present[frame]]
    if not people:
        raise ValueError(
            f"Nobody is seen in frame {frame}, from which the person was to be picked. People are seen in the frames "
            f"{_ranges(clip.present)}: choose one of them, or the rule 'largest'."
        )
    return people


def _check_anybody(clip: PoseClip) -> None:
    if not clip.people:
        raise ValueError(
            f"There is nobody in these poses of {clip.frames} frames, so no person can be picked. Look at the preview "
            "of Extract Poses, or connect other poses."
        )


def _ranges(flags: np.ndarray) -> str:
    """Return the ranges of True as text such as "0-11, 40": the first few of them."""
    edges = np.flatnonzero(np.diff(flags.astype(int), prepend=0, append=0)).reshape(-1, 2)
    words = [f"{first}-{end - 1}" if end - first > 1 else str(first) for first, end in edges]
    if len(words) > MAX_RANGES:
        words[MAX_RANGES:] = ["..."]
    return ", ".join(words)
