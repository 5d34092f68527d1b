"""How a clip looks with the edits that were made by hand; see edit_list.py for what they are."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..poses import KEYPOINTS, NECK, PoseClip, Track
from ..skeleton import CHAIN, metric
from .corrections import PARTS
from .edit_list import BODY, JOINTS, Edit, Unfit
from .swap_repair import FOLLOWING_PAIRS, VOTING_PAIRS

SHOWN = 1.0  # the score of a keypoint that was placed or shown by hand
MAX_NOTES = 8
SIDES = np.array([pair for pairs in (*VOTING_PAIRS.values(), *FOLLOWING_PAIRS.values()) for pair in pairs]).T


def apply_edits(clip: PoseClip, edits: Sequence[Edit]) -> tuple[PoseClip, list[str]]:
    """Return the edited clip, the very same one if nothing changes, and a sentence for each edit that was skipped."""
    people = _People(clip)
    notes = []
    for edit in edits:
        try:
            APPLY[edit.op](people, edit)
        except Unfit as error:
            notes.append(f"Edit {edit.number} ({edit.op}) was skipped: {error}")
    return people.clip(), notes


def notes_text(notes: Sequence[str]) -> str:
    """Return the sentences, a line each, the first MAX_NOTES of them."""
    more = len(notes) - MAX_NOTES
    return "\n".join([*notes[:MAX_NOTES], *([f"{more} more edits were skipped."] if more > 0 else [])])


def weights(edit: Edit, frames: int) -> tuple[slice, np.ndarray]:
    """Return the frames that an edit reaches in a clip of `frames`, and its weight 0..1 in each of them.

    The weight is 1 from `start` to `stop`, and eases in over the `ease_in` frames before and out over the `ease_out`
    frames after (smoothstep).
    """
    stop = frames if edit.stop is None else min(edit.stop, frames)
    first, last = max(0, edit.start - edit.ease_in), min(frames, stop + edit.ease_out)
    index = np.arange(first, last)
    before = (edit.ease_in + 1 - (edit.start - index)) / (edit.ease_in + 1)
    after = (edit.ease_out + 1 - (index - (stop - 1))) / (edit.ease_out + 1)
    part = np.clip(np.minimum(before, after), 0, 1)
    return slice(first, last), part * part * (3 - 2 * part)


class _People:
    """The people of a clip while edits apply; arrays are copied before their first change."""

    def __init__(self, clip: PoseClip):
        self.source = clip
        self.frames, self.aspect = clip.frames, clip.width / clip.height
        self.tracks: dict[int, Track] = {track.number: track for track in clip.tracks}
        self.own: set[int] = set()

    def clip(self) -> PoseClip:
        same = len(self.tracks) == len(self.source.tracks) and all(
            self.tracks.get(track.number) is track for track in self.source.tracks
        )
        return self.source if same else self.source.with_tracks(self.tracks[number] for number in sorted(self.tracks))

    def arrays(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return points [F, 134, 2] and scores [F, 134] of a person, to be changed in place."""
        track = self.track(number)
        if number not in self.own:
            track = self.tracks[number] = Track(track.identity, track.points.copy(), track.scores.copy())
            self.own.add(number)
        return track.points, track.scores

    def track(self, number: int) -> Track:
        if number not in self.tracks:
            there = ", ".join(map(str, sorted(self.tracks))) or "nobody"
            raise Unfit(f"there is no person {number} in these poses ({there}).")
        return self.tracks[number]

    def add(self, number: int, points: np.ndarray, scores: np.ndarray) -> None:
        self.tracks[number] = Track(number - 1, points, scores)
        self.own.add(number)

    def span(self, edit: Edit) -> slice:
        """Return the frames from `start` to `stop`; Unfit if the clip ends before."""
        if edit.start >= self.frames:
            raise Unfit(f"it begins at frame {edit.start}, and these poses have {self.frames} frames.")
        return slice(edit.start, self.frames if edit.stop is None else min(edit.stop, self.frames))


def _move(people: _People, edit: Edit) -> None:
    people.span(edit)
    points, _ = people.arrays(edit.person)
    frames, weight = weights(edit, people.frames)
    for name, shift in edit.values.items():
        points[frames, JOINTS[name]] += weight[:, None, None] * np.array(shift)


def _place(people: _People, edit: Edit) -> None:
    """Put joints at a place and show them there; a person who is not in the clip is added."""
    span = people.span(edit)
    if edit.person not in people.tracks:
        empty = np.zeros((people.frames, KEYPOINTS, 2))
        people.add(edit.person, empty, np.zeros((people.frames, KEYPOINTS)))
    points, scores = people.arrays(edit.person)
    frames, weight = weights(edit, people.frames)
    for name, place in edit.values.items():
        joints = JOINTS[name]
        seen = people.tracks[edit.person].visible[frames, joints[0]]
        part = np.where(seen | (weight == 1), weight, 0)[:, None, None]
        points[frames, joints] += part * (np.array(place) - points[frames, joints])
        scores[span, joints] = SHOWN


def _paste(people: _People, edit: Edit) -> None:
    """Give the frames the pose of the frame `source`, with its scores."""
    span = people.span(edit)
    if edit.source >= people.frames:
        raise Unfit(f"it copies frame {edit.source}, and these poses have {people.frames} frames.")
    points, scores = people.arrays(edit.person)
    joints = list(edit.joints) or list(range(KEYPOINTS))
    pose, seen = points[edit.source, joints].copy(), scores[edit.source, joints].copy()
    frames, weight = weights(edit, people.frames)
    points[frames, joints] += weight[:, None, None] * (pose - points[frames, joints])
    scores[span, joints] = seen


def _set_scores(people: _People, edit: Edit, score: float) -> None:
    span = people.span(edit)
    _, scores = people.arrays(edit.person)
    scores[span, list(edit.joints) or slice(None)] = score


def _show(people: _People, edit: Edit) -> None:
    _set_scores(people, edit, SHOWN)


def _hide(people: _People, edit: Edit) -> None:
    _set_scores(people, edit, 0)


def _nobody(people: _People, edit: Edit) -> None:
    span = people.span(edit)
    for number in list(people.tracks):
        people.arrays(number)[1][span] = 0


def _scale(people: _People, edit: Edit) -> None:
    """Scale a part about the joint it hangs on, the whole body about the neck; eased by the power of the factor."""
    people.span(edit)
    points, _ = people.arrays(edit.person)
    frames, weight = weights(edit, people.frames)
    old = metric(points[frames], people.aspect)
    new = old.copy()
    factors = np.exp(weight * math.log(edit.factor))[:, None, None]
    if edit.part == BODY:
        new = old[:, [NECK]] + factors * (old - old[:, [NECK]])
    else:
        for children, parent, part in CHAIN:
            scale = factors if part in PARTS[edit.part] else 1
            new[:, children] = new[:, [parent]] + scale * (old[:, children] - old[:, [parent]])
    points[frames] = new / (people.aspect, 1)


def _swap_sides(people: _People, edit: Edit) -> None:
    span = people.span(edit)
    right, left = SIDES
    for values in people.arrays(edit.person):
        there = values[span]
        there[:, right], there[:, left] = there[:, left], there[:, right]


def _exchange(people: _People, edit: Edit) -> None:
    """Exchange two people in the frames."""
    span = people.span(edit)
    people.track(edit.other)
    for mine, theirs in zip(people.arrays(edit.person), people.arrays(edit.other), strict=True):
        mine[span], theirs[span] = theirs[span].copy(), mine[span].copy()


def _split(people: _People, edit: Edit) -> None:
    """Make another person, `other`, of the frames."""
    span = people.span(edit)
    if edit.other in people.tracks:
        raise Unfit(f"there is a person {edit.other} already.")
    points, scores = people.arrays(edit.person)
    later = np.zeros_like(scores)
    later[span] = scores[span]
    people.add(edit.other, points.copy(), later)
    scores[span] = 0


APPLY: dict[str, Callable[[_People, Edit], None]] = {
    "move": _move,
    "place": _place,
    "paste": _paste,
    "show": _show,
    "hide": _hide,
    "nobody": _nobody,
    "scale": _scale,
    "swap_sides": _swap_sides,
    "exchange": _exchange,
    "split": _split,
}
