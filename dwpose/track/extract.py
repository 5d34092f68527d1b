"""The loop over a video: find people now and then, follow them in between, keep their keypoints and nothing else.

No frame is kept. On a CPU detection takes most of the time, so it runs only every few frames, when nobody is being
followed, and when somebody's scores fall; in between each person is searched where the last pose was. While nobody is
followed, the detector's finest search runs only every few frames.
"""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ..boxes import overlaps
from ..detect.detector import Detector, Region, boxes, on_grid
from ..poses import BODY, VISIBLE_SCORE, PoseClip
from . import appearance
from .track import Tracker
from .tracklets import Detections, joints_seen, person_box, person_size

METHOD = 3  # to be counted up when the same frames give other poses, because poses are cached
NOBODY_RULES = ("hold", "blank", "end")
MIN_JOINTS = 3  # visible body joints, below which nobody was there
CONFIRMS = 0.3  # overlap from which a detection says that a followed person is still there
SAME_REGION = 0.6  # overlap from which a detection is nothing but the followed region again
FALL = 0.6  # scores below that fraction of their running mean have fallen
MAX_MISSED = 2  # detections in a row without a followed person, after which the person is gone
JOINT_ERROR = 0.05  # two estimates of one joint differ by that fraction of the person's size
SAME_PERSON = 0.5  # similarity of keypoints from which two estimates show one person
SAME_BOX = 0.7  # overlap of the boxes for the same, where too few joints are seen in both

People = list[tuple[np.ndarray, np.ndarray]]  # points [134, 2] in pixels and scores [134] of each


@dataclass(frozen=True)
class ExtractSettings:
    """detect_every: frames from one detection to the next. max_people: how many are followed at once.

    max_frames: how many frames are read, 0 for all. follow: search a person where the last pose was; False: detect in
    every frame, and search in the detected boxes alone, as upstream does.
    """

    detect_every: int = 5
    max_people: int = 4
    max_frames: int = 0
    follow: bool = True

    def __post_init__(self):
        for name in ("detect_every", "max_people"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 1 or more.")


def extract(
    frames: Iterable[np.ndarray],
    detector: Detector,
    settings: ExtractSettings = ExtractSettings(),
    on_frame: Callable[[int, np.ndarray, People], None] = lambda *_: None,
    check: Callable[[], None] | None = None,
    allow_nobody: bool = False,
) -> PoseClip:
    """Return everybody in a stream of frames, uint8 [H, W, 3] RGB, all of one size; as many frames as came in.

    on_frame: called after each frame with its index, its picture and the people seen; what it raises ends the loop.
    check: called during long searches of one frame; what it raises ends the loop too.
    In a frame in which nobody is seen, all scores are 0: see `apply_nobody_rule`. ValueError if there is no frame at
    all, if the size changes, or, unless `allow_nobody`, if nobody is seen in any frame.
    """
    loop, size, count = _Loop(detector, settings, check), None, 0
    for index, frame in enumerate(itertools.islice(frames, settings.max_frames or None)):
        size = size or frame.shape[:2]
        if size != frame.shape[:2]:
            raise ValueError(
                f"Frame {index} is {frame.shape[1]}x{frame.shape[0]}, the frames before are {size[1]}x{size[0]}. "
                "All frames of a clip must have one size."
            )
        on_frame(index, frame, loop.step(index, frame))
        count = index + 1
    if size is None:
        raise ValueError("The video has no frames. Connect a video or images with at least one frame.")
    height, width = size
    tracks = loop.tracker.tracks(count)
    if not tracks and not allow_nobody:
        raise ValueError(_nobody(detector, count))
    return PoseClip(width, height, count, tuple(replace(t, points=t.points / (width, height)) for t in tracks))


def apply_nobody_rule(clip: PoseClip, rule: str) -> PoseClip:
    """Return the clip with a rule for the frames in which nobody is seen; without such frames, the clip as it is.

    "hold": the poses of the last frame before in which anybody was seen; of the first such frame for those before it.
    "blank": no skeleton. "end": the clip ends at the first such frame after anybody was seen; before, as "hold".
    """
    if rule not in NOBODY_RULES:
        raise ValueError(f"Unknown rule '{rule}' for frames without anybody. Choose one of {', '.join(NOBODY_RULES)}.")
    present = clip.present
    if rule == "blank" or present.all() or not present.any():
        return clip
    first = int(present.argmax())
    last_seen = np.maximum.accumulate(np.where(present, np.arange(clip.frames), first))
    gone = np.flatnonzero(~present[first:])
    frames = first + int(gone[0]) if rule == "end" and len(gone) else clip.frames
    return clip.at(last_seen[:frames])


class _Guess(NamedTuple):
    """Where to search for a person in this frame, and what is known of who is being followed there."""

    region: Region
    strength: float = 0.0  # running mean of the sum of the body's scores; 0 for somebody new
    missed: int = 0  # detections in a row that did not see this person

    def fell(self, strength: float) -> bool:
        return strength < FALL * self.strength


class _Seen(NamedTuple):
    guess: _Guess
    points: np.ndarray
    scores: np.ndarray

    @property
    def strength(self) -> float:
        return float(self.scores[BODY].sum())


class _Loop:
    """What is known from one frame to the next."""

    def __init__(self, detector: Detector, settings: ExtractSettings, check: Callable[[], None] | None):
        self.detector, self.settings, self.check, self.tracker = detector, settings, check, Tracker()
        self.followed: list[_Guess] = []
        self.lost_person = False
        self.found_at = 0
        self.empty_frames = 0  # in a row up to now

    def step(self, index: int, frame: np.ndarray) -> People:
        guesses = self.followed
        due = not guesses or self.lost_person or index - self.found_at >= self.settings.detect_every
        if due:
            guesses = self._find(index, frame, guesses)
        people, fallen = self._estimate(frame, guesses)
        if fallen and not due:
            doubted = [g._replace(missed=MAX_MISSED - 1) if g in fallen else g for g in guesses]
            people, fallen = self._estimate(frame, self._find(index, frame, doubted))
        people = [p for p in people if not (p.guess.missed and p.guess in fallen)]
        people.sort(key=lambda p: (p.guess.strength > 0, p.strength), reverse=True)
        return self._keep(index, frame, people[: self.settings.max_people])

    def _find(self, index: int, frame: np.ndarray, guesses: list[_Guess]) -> list[_Guess]:
        """Return the guesses that may still hold after a detection, and a new one for each person found elsewhere."""
        self.found_at = index
        fine = self.empty_frames % self.settings.detect_every == 0
        found = self.detector.find(frame, fine, self.check)
        shared = overlaps(boxes(guess.region for guess in guesses), boxes(found))
        seen = np.any(shared >= CONFIRMS, axis=1)
        kept = [g._replace(missed=0 if s else g.missed + 1) for g, s in zip(guesses, seen, strict=True)]
        known = np.any(shared >= SAME_REGION, axis=0)
        new = [_Guess(region) for region, is_known in zip(found, known, strict=True) if not is_known]
        return [g for g in kept if g.missed < MAX_MISSED] + new[: self.settings.max_people]

    def _estimate(self, frame: np.ndarray, guesses: list[_Guess]) -> tuple[list[_Seen], list[_Guess]]:
        """Return the people who are there, each once, and the followed guesses whose scores have fallen."""
        if not guesses:
            return [], []
        points, scores = self.detector.estimate(frame, [guess.region for guess in guesses])
        people = [_Seen(*row) for row in zip(guesses, points, scores, strict=True)]
        people = [people[row] for row in _each_once(points, scores)]
        strengths = {id(p.guess): p.strength for p in people}
        return people, [g for g in guesses if g.fell(strengths.get(id(g), 0.0))]

    def _keep(self, index: int, frame: np.ndarray, people: list[_Seen]) -> People:
        """Give the people to the tracker, and note where to search for them next."""
        self.followed, self.lost_person = [], False
        self.empty_frames = 0 if people else self.empty_frames + 1
        if not people:
            return []
        appearances = np.stack([appearance.describe(frame, p.points, p.scores) for p in people])
        points, scores = np.stack([p.points for p in people]), np.stack([p.scores for p in people])
        self.tracker.update(index, Detections.of(points, scores, appearances))
        for person in people:
            region = self.detector.follow(person.points, person.scores)
            self.lost_person |= region is None
            old = person.guess.strength or person.strength
            if region is not None and self.settings.follow:
                self.followed.append(_Guess(on_grid(region), (old + person.strength) / 2, person.guess.missed))
        return list(zip(points, scores, strict=True))


def _each_once(points: np.ndarray, scores: np.ndarray) -> list[int]:
    """Return the rows of points [N, 134, 2] that show somebody, the best of each person, best first."""
    same = _same_person(points, scores)
    there = (scores[:, BODY] >= VISIBLE_SCORE).sum(1) >= MIN_JOINTS
    kept: list[int] = []
    for row in np.argsort(-scores[:, BODY].sum(1), kind="stable"):
        if there[row] and not same[row, kept].any():
            kept.append(int(row))
    return kept


def _same_person(points: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return bool [N, N]: the joints seen in both lie on each other (object keypoint similarity, as in COCO)."""
    joints, sizes = joints_seen(scores), person_size(points, scores)
    shared = joints[:, None] & joints[None]  # N N 134
    error = JOINT_ERROR * np.maximum(sizes[:, None], sizes[None])[..., None] + 1e-9
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1) / error
    near = np.where(shared, np.exp(-(distance**2) / 2), 0).sum(-1)
    alike = near > SAME_PERSON * np.maximum(shared.sum(-1), 1)
    outlines = person_box(points, scores)
    return np.where(shared.sum(-1) >= MIN_JOINTS, alike, overlaps(outlines, outlines) > SAME_BOX)


def _nobody(detector: Detector, frames: int) -> str:
    advice = (
        "the person is larger, not cut off, upright and in good light, or try another detector in Load Pose Detector."
    )
    if frames == 1:
        by_hand = "Or connect the picture to images of Edit Poses and place a skeleton by hand."
        return f"{detector.name} found nobody in the picture. Use one in which {advice} {by_hand}"
    return f"{detector.name} found nobody in any of the {frames} frames. Use a video in which {advice}"
