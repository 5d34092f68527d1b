"""Poses that were found once, kept on disk: one dance serves many photos.

A video is one .npz file named by its key: the size of the frames, and identities [P], points [P, F, 134, 2] and scores
[P, F, 134] of the P people, in float64, so that a cached clip equals a fresh one bit for bit; what was amiss with the
video; and the preview's pictures, for which it would have to be read again.
"""

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...media.disk_cache import DiskCache
from ..poses import KEYPOINTS, PoseClip, Track

VERSION = 2
SUFFIX = ".npz"


class SeenVideo(NamedTuple):
    """What reading a video gave: the people in it, a note on what was amiss with it, and the preview's pictures.

    pictures: uint8 [h, w, 3] RGB, all of one size, by the number of the frame; None where none were taken.
    """

    clip: PoseClip
    note: str = ""
    pictures: dict[int, np.ndarray] | None = None


def cache_key(**parts) -> str:
    """Return a hash of the settings `parts`, which JSON must be able to hold; the same whatever their order."""
    text = json.dumps([VERSION, parts], sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()


class PoseCache:
    """Videos in `folder` by key, at most `limit_bytes` in all. 0 turns the cache off."""

    def __init__(self, folder: Path, limit_bytes: int):
        self.files, self.limit_bytes = DiskCache(folder, SUFFIX, limit_bytes), limit_bytes

    def load(self, key: str) -> SeenVideo | None:
        """Return what is stored under `key`, None if there is nothing."""
        return self.files.load(key, _unpacked)

    def store(self, key: str, seen: SeenVideo) -> None:
        """Keep what was seen under `key`, its pictures only where the limit allows."""
        if self.limit_bytes <= 0:
            return
        content = _packed(seen)
        if not self.files.fits(len(content)):
            content = _packed(seen._replace(pictures=None))
        self.files.save(key, content)


def _packed(seen: SeenVideo) -> bytes:
    """Return the content of the file that keeps `seen`."""
    (clip, note, pictures), people = seen, len(seen.clip.tracks)
    tracks, frames = clip.tracks, clip.frames
    shown: dict[str, Any] = {"picture_frames": np.array([*pictures], np.int64)} if pictures else {}
    content = io.BytesIO()
    np.savez_compressed(
        content,
        version=VERSION,
        shape=np.array([clip.width, clip.height, frames], np.int64),
        identities=np.array([track.identity for track in tracks], np.int64),
        points=np.array([t.points for t in tracks], np.float64).reshape(people, frames, KEYPOINTS, 2),
        scores=np.array([t.scores for t in tracks], np.float64).reshape(people, frames, KEYPOINTS),
        note=note,
        **shown,
    )
    if pictures:
        pixels = io.BytesIO()
        np.save(pixels, np.stack([*pictures.values()]))
        with zipfile.ZipFile(content, "a") as file:  # not compressed: inflating takes as long as hashing a video
            file.writestr(zipfile.ZipInfo("pictures.npy"), pixels.getvalue())
    return content.getvalue()


def _unpacked(content: memoryview) -> SeenVideo:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        if file["version"] != VERSION:
            raise ValueError(f"format {file['version']}, not {VERSION}")
        width, height, frames = (int(number) for number in file["shape"])
        identities, points, scores = file["identities"], file["points"], file["scores"]
        note, pictures = str(file["note"]), _pictures(file)
    people = len(identities)
    _check(points, (people, frames, KEYPOINTS, 2))
    _check(scores, (people, frames, KEYPOINTS))
    tracks = (Track(int(i), p, s) for i, p, s in zip(identities, points, scores, strict=True))
    return SeenVideo(PoseClip(width, height, frames, tuple(tracks)), note, pictures)


def _pictures(file) -> dict[int, np.ndarray] | None:
    """Return the pictures by frame; None where none were kept."""
    if "pictures" not in file:
        return None
    frames, pictures = file["picture_frames"].tolist(), file["pictures"]
    _check(pictures, (len(frames), *pictures.shape[1:3], 3), np.uint8)
    return dict(zip(frames, pictures, strict=True))


def _check(array: np.ndarray, shape: tuple[int, ...], dtype: type = np.float64) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(f"{array.dtype} {array.shape} instead of {np.dtype(dtype)} {shape}")
