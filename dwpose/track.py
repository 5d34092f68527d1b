"""Who is who: people found frame by frame become tracks, one person each.

Two passes. In the first, each frame's people are assigned to the stretches that are under way (`Tracker.update`). The
second (`chains`), which knows the whole clip, cuts a stretch where the clothes change, because there one person hid
another and the eye went along with the wrong one; then it chains the stretches into people, so that someone who leaves
and comes back, elsewhere and long after, is the same person. Both passes solve an assignment over one cost
(`stretches.link_costs`): how far the joints are from where they were expected, how unlike the clothes look
(`appearance`), how unlike the sizes are.

Dimensions: N people in a frame, F frames. Points may be in pixels or in parts of the frame, throughout.
"""

from collections.abc import Callable

import numpy as np

from . import chains
from .boxes import overlaps
from .poses import KEYPOINTS, Track
from .steady_runs import LONGEST, MOST_PEOPLE, SHORTEST, steady_run
from .stretches import Sight, Sights, Stretch, assign, joints_seen, link_costs, person_box, person_size

__all__ = ["Sights", "Tracker", "joints_seen", "link_people", "link_rows", "person_box", "person_size"]

LIVE_FRAMES = 24  # a stretch that long without a sight of the person has ended
NEAR = 0.8  # motion cost from which a person is elsewhere, and only the second pass may link
NEW_STRETCH = 1.2  # a sight must cost less than that to go on with a stretch; the second pass may still link them
CROWDED = 0.3  # overlap of two people's boxes from which neither look is one person's own
GHOST_FRAMES = 5  # shorter stretches are brief, and of low score nobody at all
MAX_STRETCHES = 2000  # of people without ids: they jump about, or never were the same


class Tracker:
    """Takes one frame's people after the other, and gives the tracks at the end. Keeps no picture."""

    def __init__(self):
        self.stretches: list[Stretch] = []
        self.live: list[Stretch] = []
        self.rows = 0

    def update(self, frame: int, sights: Sights) -> list[Stretch]:
        """Return the stretch that each of the N people of `frame` belongs to; frames must come in order."""
        self.live = [s for s in self.live if frame - s.last.frame <= LIVE_FRAMES]
        found = dict(assign(self._costs(frame, sights), NEW_STRETCH))
        result = [self.live[found[row]] if row in found else Stretch() for row in range(len(sights.points))]
        clear = ~_crowded(sights)
        for row, stretch in enumerate(result):
            if not stretch.sights:
                self.stretches.append(stretch)
                self.live.append(stretch)
            look = None if sights.looks is None else sights.looks[row]
            points, scores = sights.points[row].copy(), sights.scores[row].copy()
            size = float(sights.sizes[row])
            stretch.add(Sight(frame, self.rows, points, scores, sights.joints[row], size, look, bool(clear[row])))
            self.rows += 1
        return result

    def go_on(self, frame: int, count: int, sights: Sights) -> int:
        """Return how many frames from `frame` on were taken at once, of `count` people each; often none.

        sights: those of all frames, without looks. The stretches are the same as after as many calls of `update`.
        """
        self.live = [s for s in self.live if frame - s.last.frame <= LIVE_FRAMES]
        steady = len(self.live) == count <= MOST_PEOPLE and len(sights.points) >= SHORTEST * count
        if not steady or any(stretch.last.frame != frame - 1 for stretch in self.live):
            return 0
        run = steady_run(self.live, sights, NEAR, NEW_STRETCH)
        if run is None:
            return 0
        for i, order in enumerate(run.order.tolist()):
            for stretch, person in zip(self.live, order, strict=True):
                row = i * count + person
                points, scores, joints = sights.points[row], sights.scores[row], sights.joints[row]
                size = float(sights.sizes[row])
                stretch.sights.append(Sight(frame + i, self.rows + row, points, scores, joints, size, None, True))
        for stretch, velocity, size in zip(self.live, run.velocity, run.sizes.tolist(), strict=True):
            stretch.velocity, stretch.size = velocity, size
        self.rows += run.order.size
        return len(run.order)

    def _costs(self, frame: int, sights: Sights) -> np.ndarray:
        """Return [N, M]: what it costs that the people go on with the live stretches."""
        if not self.live:
            return np.empty((len(sights.points), 0))
        gaps = np.array([[frame - stretch.last.frame for stretch in self.live]])
        motion, looks, sizes = link_costs(self.live, gaps, sights)
        return np.where(motion < NEAR, motion + (looks + sizes), np.inf)

    def people(self, frames: int, check: Callable[[], None] = lambda: None) -> list[list[Sight]]:
        """Return the sights of each person of a clip of `frames` frames, by first appearance, then from the left.

        check: called now and then; what it raises ends the search.
        """
        lasting = min(GHOST_FRAMES, 1 + frames // 8)
        pieces = [piece for stretch in chains.without_ghosts(self.stretches, lasting) for piece in stretch.pieces()]
        found = sorted(chains.people(pieces, lasting, check), key=lambda chain: _place(chain[0].first))
        return [[sight for stretch in chain for sight in stretch.sights] for chain in found]

    def tracks(self, frames: int) -> list[Track]:
        """Return the people of a clip of `frames` frames as tracks, numbered from 0 in the order of `people`."""
        return [Track(identity, *_arrays(sights, frames)) for identity, sights in enumerate(self.people(frames))]


def link_rows(
    frames: int, where: np.ndarray, points: np.ndarray, scores: np.ndarray, check: Callable[[], None] = lambda: None
) -> np.ndarray:
    """Return for each of N people, seen in frames `where` [N] in ascending order, the number of the person.

    points: [N, 134, 2]; scores: [N, 134]. People are told apart by motion alone; -1 is nobody. check: called for every
    frame; what it raises ends the linking. ValueError if the people are not the same from frame to frame.
    """
    tracker, sights = Tracker(), Sights.of(points, scores)
    here, starts, counts = np.unique(where, return_index=True, return_counts=True)
    breaks = np.flatnonzero((np.diff(here) != 1) | (np.diff(counts) != 0)) + 1
    place, length = 0, SHORTEST
    while place < len(here):
        check()
        stop = min(place + length, *breaks[np.searchsorted(breaks, place, "right") :][:1], len(here))
        some = sights.at(slice(starts[place], starts[stop - 1] + counts[stop - 1]))
        done = tracker.go_on(int(here[place]), int(counts[place]), some)
        length = min(2 * length, LONGEST) if place + done == stop else SHORTEST
        place += done
        if not done:
            tracker.update(int(here[place]), sights.at(slice(starts[place], starts[place] + counts[place])))
            _check_stretches(len(tracker.stretches), int(here[place]))
            place += 1
    owners = np.full(len(where), -1)
    for number, person in enumerate(tracker.people(frames, check)):
        owners[[sight.row for sight in person]] = number
    return owners


def link_people(points: list[np.ndarray], scores: list[np.ndarray]) -> list[Track]:
    """Return the people of F frames in which each lists its people in any order, told apart by motion alone.

    points: F arrays [N_f, 134, 2]; scores: F arrays [N_f, 134]. People of whom nothing is seen are left out.
    """
    tracker = Tracker()
    for frame, (places, confidence) in enumerate(zip(points, scores, strict=True)):
        seen = joints_seen(confidence).any(-1)
        if seen.any():
            tracker.update(frame, Sights.of(places[seen], confidence[seen]))
    return tracker.tracks(len(points))


def _check_stretches(count: int, frame: int) -> None:
    if count > MAX_STRETCHES:
        raise ValueError(
            f"Nobody can be followed through these poses: up to frame {frame}, people have appeared from nowhere "
            f"{count} times. Poses without ids must show the same people from frame to frame. Use the poses of one "
            "video instead of single pictures, fewer frames, or the poses of Extract Poses, which have ids."
        )


def _crowded(sights: Sights) -> np.ndarray:
    """Return bool [N]: whose box another overlaps. Only looks depend on it."""
    if sights.looks is None:
        return np.zeros(len(sights.points), bool)
    boxes = person_box(sights.points, sights.scores)
    return (overlaps(boxes, boxes) > CROWDED).sum(1) > 1


def _place(sight: Sight) -> tuple[int, float]:
    return sight.frame, float(person_box(sight.points, sight.scores)[[0, 2]].mean())


def _arrays(sights: list[Sight], frames: int) -> tuple[np.ndarray, np.ndarray]:
    points, scores = np.zeros((frames, KEYPOINTS, 2)), np.zeros((frames, KEYPOINTS))
    for sight in sights:
        points[sight.frame], scores[sight.frame] = sight.points, sight.scores
    return points, scores
