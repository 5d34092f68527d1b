"""Poses as compact bytes for the pose editor in ComfyUI's page, which only shows them: edits apply to the real ones.

A header as JSON after its length (uint32), then the points of each person, uint16 [F, K, 2], then their scores, uint8
[F, K], all little endian. K are all keypoints but the face, which is neither drawn nor edited point by point. A place
p, a fraction of the frame, is stored as round((p + 1) / 3 * 65535): one frame beyond each edge is kept.
web/pose_editor/packed_poses.js reads it.
"""

import hashlib
import json

import numpy as np

from ..poses import FACE, KEYPOINTS, PoseClip

VERSION = 1
SHOWN_KEYPOINTS = [keypoint for keypoint in range(KEYPOINTS) if not FACE.start <= keypoint < FACE.stop]
LEAST, SPAN = -1.0, 3.0
MAX_BYTES = 64 << 20


def pack_poses(clip: PoseClip) -> bytes:
    """Return the bytes; ValueError for more than MAX_BYTES."""
    size = len(clip.tracks) * clip.frames * len(SHOWN_KEYPOINTS) * 5
    if size > MAX_BYTES:
        raise ValueError(
            f"{len(clip.tracks)} people in {clip.frames} frames are too many for the editor. Take fewer frames with "
            "max_frames, or one person with Pick Person."
        )
    header = {
        "version": VERSION,
        "width": clip.width,
        "height": clip.height,
        "frames": clip.frames,
        "people": [track.number for track in clip.tracks],
        "keypoints": SHOWN_KEYPOINTS,
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)  # the arrays begin at an even place
    parts = [np.uint32(len(text)).astype("<u4").tobytes(), text]
    for track in clip.tracks:
        points = (track.points[:, SHOWN_KEYPOINTS] - LEAST) / SPAN * 65535
        parts.append(np.rint(np.clip(points, 0, 65535)).astype("<u2").tobytes())
    parts += [np.rint(track.scores[:, SHOWN_KEYPOINTS] * 255).astype(np.uint8).tobytes() for track in clip.tracks]
    return b"".join(parts)


def name_of(content: bytes) -> str:
    """Return a name that only these bytes have, so that the page may keep what it fetched."""
    return f"steadydancer_poses_{hashlib.sha256(content).hexdigest()[:16]}.bin"
