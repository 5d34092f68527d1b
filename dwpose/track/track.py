"""Who is who: people found frame by frame become tracks, one person each.

Two passes. In the first, each frame's people are assigned to the tracklets that are under way (`Tracker.update`). The
second (`merging`), which knows the whole clip, cuts a tracklet where the clothes change, because there one person hid
another; then it merges tracklets into people, so that someone who comes back is the same person. Both solve an
assignment over one cost (`tracklets.link_costs`). Dimensions: N people in a frame, F frames. Points may be in pixels or
in fractions of the frame, throughout.
"""

from collections.abc import Callable

import numpy as np

from ..boxes import overlaps
from ..poses import KEYPOINTS, Track
from .batch_association import LONGEST, MOST_PEOPLE, SHORTEST, associate_batch
from .merging import drop_false_positives, merge_tracklets
from .tracklets import Detection, Detections, Tracklet, assign, link_costs, person_box

LIVE_FRAMES = 24  # a tracklet that long without a detection of the person has ended
NEAR = 0.8  # motion cost from which a person is elsewhere, and only the second pass may link
MAX_ASSOCIATION_COST = 1.2  # of a detection that continues a tracklet; above, the second pass may still link them
CROWDED = 0.3  # overlap of two people's boxes from which neither appearance is one person's own
FALSE_POSITIVE_FRAMES = 5  # shorter tracklets are brief, and of low score nobody at all
MAX_TRACKLETS = 2000  # of people without ids: they jump about, or never were the same


class Tracker:
    """Takes one frame's people after the other, and gives the tracks at the end. Keeps no picture."""

    def __init__(self):
        self.tracklets: list[Tracklet] = []
        self.live: list[Tracklet] = []
        self.rows = 0

    def update(self, frame: int, detections: Detections) -> list[Tracklet]:
        """Return the tracklet that each of the N people of `frame` belongs to; frames must come in order."""
        self.live = [s for s in self.live if frame - s.last.frame <= LIVE_FRAMES]
        found = dict(assign(self._costs(frame, detections), MAX_ASSOCIATION_COST))
        result = [self.live[found[row]] if row in found else Tracklet() for row in range(len(detections.points))]
        is_clear = np.ones(len(result), bool)  # only appearances depend on it
        if detections.appearances is not None:
            boxes = person_box(detections.points, detections.scores)
            is_clear = (overlaps(boxes, boxes) > CROWDED).sum(1) <= 1
        for row, tracklet in enumerate(result):
            if not tracklet.detections:
                self.tracklets.append(tracklet)
                self.live.append(tracklet)
            appearance = None if detections.appearances is None else detections.appearances[row]
            points, scores = detections.points[row].copy(), detections.scores[row].copy()
            size = float(detections.sizes[row])
            joints, clear = detections.joints[row], bool(is_clear[row])
            tracklet.add(Detection(frame, self.rows, points, scores, joints, size, appearance, clear))
            self.rows += 1
        return result

    def update_batch(self, frame: int, count: int, detections: Detections) -> int:
        """Return how many frames of `count` people each were taken at once, as by `update` for each."""
        self.live = [s for s in self.live if frame - s.last.frame <= LIVE_FRAMES]
        steady = len(self.live) == count <= MOST_PEOPLE and len(detections.points) >= SHORTEST * count
        if not steady or any(tracklet.last.frame != frame - 1 for tracklet in self.live):
            return 0
        batch = associate_batch(self.live, detections, NEAR, MAX_ASSOCIATION_COST)
        if batch is None:
            return 0
        for i, order in enumerate(batch.order.tolist()):
            for tracklet, person in zip(self.live, order, strict=True):
                row = i * count + person
                points, scores, joints = detections.points[row], detections.scores[row], detections.joints[row]
                size = float(detections.sizes[row])
                detection = Detection(frame + i, self.rows + row, points, scores, joints, size, None, True)
                tracklet.detections.append(detection)
        for tracklet, velocity, size in zip(self.live, batch.velocity, batch.sizes.tolist(), strict=True):
            tracklet.velocity, tracklet.size = velocity, size
        self.rows += batch.order.size
        return len(batch.order)

    def _costs(self, frame: int, detections: Detections) -> np.ndarray:
        """Return [N, M]: what it costs that the people continue the live tracklets."""
        if not self.live:
            return np.empty((len(detections.points), 0))
        gaps = np.array([[frame - tracklet.last.frame for tracklet in self.live]])
        motion, appearances, sizes = link_costs(self.live, gaps, detections)
        return np.where(motion < NEAR, motion + (appearances + sizes), np.inf)

    def people(self, frames: int, check: Callable[[], None] = lambda: None) -> list[list[Detection]]:
        """Return the detections of each person of a clip of `frames` frames, by first frame, then from the left."""
        lasting = min(FALSE_POSITIVE_FRAMES, 1 + frames // 8)
        kept = drop_false_positives(self.tracklets, lasting)
        split = [part for tracklet in kept for part in tracklet.split_on_appearance_change()]
        people = merge_tracklets(split, lasting, check)
        merged = [[detection for tracklet in person for detection in tracklet.detections] for person in people]
        boxes = [person_box(person[0].points, person[0].scores) for person in merged]
        order = sorted(range(len(merged)), key=lambda i: (merged[i][0].frame, boxes[i][0] + boxes[i][2]))
        return [merged[i] for i in order]

    def tracks(self, frames: int) -> list[Track]:
        """Return the people of a clip of `frames` frames as tracks, numbered from 0 in the order of `people`."""
        tracks = []
        for identity, person in enumerate(self.people(frames)):
            points, scores = np.zeros((frames, KEYPOINTS, 2)), np.zeros((frames, KEYPOINTS))
            for detection in person:
                points[detection.frame], scores[detection.frame] = detection.points, detection.scores
            tracks.append(Track(identity, points, scores))
        return tracks


def link_rows(
    frames: int, where: np.ndarray, points: np.ndarray, scores: np.ndarray, check: Callable[[], None] = lambda: None
) -> np.ndarray:
    """Return for each of N people, in frames `where` [N] in ascending order, the number of the person, -1 for nobody.

    points: [N, 134, 2]; scores: [N, 134]. Motion alone decides. check: called in each frame; what it raises ends all.
    ValueError if the people are not the same from frame to frame.
    """
    tracker, detections = Tracker(), Detections.of(points, scores)
    here, starts, counts = np.unique(where, return_index=True, return_counts=True)
    breaks = np.flatnonzero((np.diff(here) != 1) | (np.diff(counts) != 0)) + 1
    place, length = 0, SHORTEST
    while place < len(here):
        check()
        stop = min(place + length, *breaks[np.searchsorted(breaks, place, "right") :][:1], len(here))
        some = detections.at(slice(starts[place], starts[stop - 1] + counts[stop - 1]))
        done = tracker.update_batch(int(here[place]), int(counts[place]), some)
        length = min(2 * length, LONGEST) if place + done == stop else SHORTEST
        place += done
        if not done:
            tracker.update(int(here[place]), detections.at(slice(starts[place], starts[place] + counts[place])))
            if len(tracker.tracklets) > MAX_TRACKLETS:
                raise ValueError(
                    f"Nobody can be followed through these poses: up to frame {here[place]}, people have appeared "
                    f"from nowhere {len(tracker.tracklets)} times. Poses without ids must show the same people from "
                    "frame to frame. Use the poses of one video instead of single pictures, fewer frames, or the poses "
                    "of Extract Poses, which have ids."
                )
            place += 1
    owners = np.full(len(where), -1)
    for number, person in enumerate(tracker.people(frames, check)):
        owners[[detection.row for detection in person]] = number
    return owners
