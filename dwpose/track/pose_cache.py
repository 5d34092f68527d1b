"""Poses that were found once, kept on disk: one dance serves many photos.

A video is one .npz file named by its key: the size of the frames, and identities [P], points [P, F, 134, 2] and scores
[P, F, 134] of the P people, in float64, so that a cached clip equals a fresh one bit for bit; what was amiss with the
video; and the preview's pictures, for which it would have to be read again. A checksum of all of it ends the file. The
cache never fails a run: what cannot be read, or has changed on the disk, counts as not there, what cannot be written is
left out, both with a warning.
"""

import contextlib
import hashlib
import io
import json
import os
import re
import time
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...media.atomic_write import UNFINISHED, atomic_write
from ...media.log import logger
from ..poses import KEYPOINTS, PoseClip, Track

VERSION = 2
SUFFIX = ".npz"
UNFINISHED_SECONDS = 3600
KEY = re.compile(r"[0-9a-f]{16,128}")
CHECKSUM_BYTES = 32
# What NumPy and zipfile raise for a file that was cut, overwritten, or made by another version.
DAMAGE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError)


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
    """Videos in `folder` by key, at most `limit_bytes` in all: those unused longest go first. 0 turns the cache off."""

    def __init__(self, folder: Path, limit_bytes: int):
        self.folder, self.limit_bytes = Path(folder), limit_bytes

    def load(self, key: str) -> SeenVideo | None:
        """Return what is stored under `key`, None if there is nothing. A damaged file is removed."""
        path = self._path(key)
        if self.limit_bytes <= 0 or not os.path.isfile(path):  # noqa: PTH113  never raises
            return None
        try:
            seen = _read(path)
        except DAMAGE as error:
            logger.warning("The cached poses in %s cannot be used (%s); they are made anew.", path, error)
            _remove(path)
            return None
        with contextlib.suppress(OSError):  # marks it as used; a read-only folder still serves
            os.utime(path)
        return seen

    def store(self, key: str, seen: SeenVideo) -> None:
        """Keep what was seen under `key`, the pictures only if there is room, then drop what is over the limit."""
        if self.limit_bytes <= 0:
            return
        content = _packed(seen)
        if len(content) > self.limit_bytes:
            content = _packed(seen._replace(pictures=None))
        size = len(content)
        if size > self.limit_bytes:  # it would push out all others
            logger.info("The poses take %d bytes, more than the pose cache may hold (%d).", size, self.limit_bytes)
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(self._path(key)) as part:
                part.write_bytes(content)
            self._drop_oldest()
            self._drop_unfinished()
        except OSError as error:
            logger.warning("The poses could not be cached in %s (%s). The run goes on without.", self.folder, error)

    def _path(self, key: str) -> Path:
        if not KEY.fullmatch(key):
            raise ValueError(f"'{key}' is no key of the pose cache. Make keys with cache_key().")
        return self.folder / (key + SUFFIX)

    def _drop_unfinished(self) -> None:
        """Remove what a run left that was ended while it wrote."""
        for part in self.folder.glob("*" + UNFINISHED):
            if time.time() - part.stat().st_mtime > UNFINISHED_SECONDS:
                _remove(part)

    def _drop_oldest(self) -> None:
        files = sorted((path.stat().st_mtime_ns, path.name, path) for path in self.folder.glob("*" + SUFFIX))
        sizes = [path.stat().st_size for _, _, path in files]
        excess = sum(sizes) - self.limit_bytes
        for (_, _, path), size in zip(files, sizes, strict=True):
            if excess <= 0:
                return
            _remove(path)
            excess -= size


def _packed(seen: SeenVideo) -> bytes:
    """Return the content of the file that keeps `seen`."""
    (clip, note, pictures), people = seen, len(seen.clip.tracks)
    tracks, frames = clip.tracks, clip.frames
    shown = {"picture_frames": np.array([*pictures], np.int64), "pictures": [*pictures.values()]} if pictures else {}
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
    return content.getvalue() + _checksum(content.getbuffer())


def _read(path: Path) -> SeenVideo:
    stored = memoryview(path.read_bytes())
    content, checksum = stored[:-CHECKSUM_BYTES], stored[-CHECKSUM_BYTES:]
    if _checksum(content) != checksum:
        raise ValueError("its checksum differs")
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


def _checksum(content: memoryview) -> bytes:
    return hashlib.blake2b(content, digest_size=CHECKSUM_BYTES).digest()


def _check(array: np.ndarray, shape: tuple[int, ...], dtype: type = np.float64) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(f"{array.dtype} {array.shape} instead of {np.dtype(dtype)} {shape}")


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
