"""Which way each person faces in each frame, for the page's turn strip: web/pose_editor/turn_strip.js reads it.

{"version": 1, "frames": 3, "people": [{"number": 1, "yaw": [0, 15, null]}]}, yaw in whole degrees, null where unknown.
"""

import json

import numpy as np

from ..poses import PoseClip
from .facing import estimate_facing

VERSION = 1


def facing_json(clip: PoseClip) -> str:
    """Return the JSON text for the people of a clip."""
    people = []
    for track in clip.people:
        yaw = estimate_facing(track, clip.width / clip.height).yaw
        whole = [None if np.isnan(angle) else round(angle) for angle in yaw.tolist()]
        people.append({"number": track.number, "yaw": whole})
    return json.dumps({"version": VERSION, "frames": clip.frames, "people": people}, separators=(",", ":"))
