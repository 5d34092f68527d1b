"""The strict form of POSE_KEYPOINT as our nodes hand it on: with the clip in it, so that nothing is parsed again."""

from ..poses import PoseClip


class WrittenPoses(list):
    """A POSE_KEYPOINT, and the clip that reading it gives. A copy of it, also a deep or pickled one, is a plain list.

    Whoever changes anything in it in place changes what is read: the values are compared with a copy of the lists. The
    copy holds the same numbers, which Python sees without comparing them.
    """

    def __init__(self, frames: list[dict], clip: PoseClip | None):
        super().__init__(frames)
        self._clip, self._before = clip, [_copied(frame) for frame in frames] if clip else []
        for track in clip.tracks if clip else ():
            track.points.flags.writeable = track.scores.flags.writeable = False

    def clip(self) -> PoseClip | None:
        """Return the clip, its arrays read-only; None if anything has been changed, or it is not known."""
        return self._clip if self == self._before else None

    def __reduce__(self):
        return list, ([*self],)


def _copied(frame: dict) -> dict:
    people = [
        {key: [*value] if isinstance(value, list) else value for key, value in person.items()}
        for person in frame["people"]
    ]
    return {**frame, "people": people}
