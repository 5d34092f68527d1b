"""Who of the driving video dances for whom in the photo."""

import numpy as np

from ..poses import BODY, PoseClip, Track
from ..track.pick import main_people

Pair = tuple[Track, Track]  # somebody in the photo, and whose dance it is


def check_people(photo: PoseClip, clip: PoseClip) -> None:
    """Raise ValueError unless somebody is seen in the photo's first frame and in any frame of the clip."""
    if not photo.frames or not photo.present[0]:
        raise ValueError(
            "Nobody is seen in the photo's pose. Take a photo that shows at least head and shoulders, or another "
            "pose detector."
        )
    if not clip.present.any():
        raise ValueError("Nobody is seen in any frame of the poses. Look at the preview of Extract Poses.")


def pair_people(photo: PoseClip, clip: PoseClip, frame: int = 0) -> tuple[list[Pair], list[str]]:
    """Return a pair for everybody in the photo's frame 0 who finds a dancer, and remarks on those who are left over.

    People go from left to right, in `frame` of the clip or when next seen; where one side has more, its main people.
    """
    people = [track for track in photo.tracks if track.present[0]]
    dancers = [track for track in clip.tracks if track.present[frame:].any()] or clip.people
    count = min(len(people), len(dancers))
    pairs = zip(_main(people, photo, count, 0), _main(dancers, clip, count, frame), strict=True)
    left = {"photo": len(photo.tracks) - count, "driving video": len(clip.tracks) - count}
    other = {"photo": "driving video", "driving video": "photo"}
    notes = [f"{n} ignored: more people in the {place} than in the {other[place]}." for place, n in left.items() if n]
    return list(pairs), notes


def nearest_people(photo: PoseClip, clip: PoseClip) -> list[Pair]:
    """Return pairs of those who stand nearest to each other, in poses that are aligned to the photo already."""
    from scipy.optimize import linear_sum_assignment

    people, dancers = [track for track in photo.tracks if track.present[0]], clip.people
    apart = np.subtract.outer([place(track) for track in people], [place(track) for track in dancers])
    return [(people[i], dancers[j]) for i, j in zip(*linear_sum_assignment(apart**2), strict=True)]


def place(track: Track, frame: int = 0) -> float:
    """Return the mean x of the joints that are seen in `frame`, or in the next frame in which the person is."""
    frame = frame + int(track.present[frame:].argmax()) if track.present[frame:].any() else int(track.present.argmax())
    return float(track.points[frame, BODY, 0][track.visible[frame, BODY]].mean())


def _main(tracks: list[Track], clip: PoseClip, count: int, frame: int) -> list[Track]:
    """Return the `count` main tracks, from left to right."""
    return sorted(main_people(clip, tracks, count), key=lambda track: place(track, frame))
