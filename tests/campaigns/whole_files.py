"""Whether a file that the pack wrote opens whole: every frame of a video, every number of a clip of poses."""

import av
from PIL import Image
from safetensors import SafetensorError, safe_open

from steadydancer_pack.dwpose.formats import pose_json
from steadydancer_pack.dwpose.track.pose_cache import PoseCache
from steadydancer_pack.media.disk_cache import DiskCache

LIMIT = 1 << 40
BROKEN = (OSError, EOFError, ValueError, av.FFmpegError, SafetensorError)


def fault(path, frames):
    """Return why the file at `path` is not whole, "" if it is.

    frames: how many a video or a clip of poses should have; other kinds have none. Damaged entries of the pose cache
    and the chunk store are removed, as the pack does when it finds them.
    """
    try:
        found = READERS[path.suffix](path)
    except BROKEN as error:
        return f"{path.name}: {error}"
    return "" if found in (None, frames) else f"{path.name}: {found} frames instead of {frames}"


def _video(path):
    with av.open(str(path)) as file:
        return sum(1 for _ in file.decode(video=0))


def _animation(path):
    with Image.open(path) as picture:
        for index in range(picture.n_frames):
            picture.seek(index)
            picture.load()
        return picture.n_frames


def _poses(path):
    return pose_json.load(path)[0].frames


def _cached_poses(path):
    if PoseCache(path.parent, LIMIT).load(path.stem) is None:
        raise ValueError("the pose cache cannot use it")


def _chunk(path):
    if DiskCache(path.parent, path.suffix, LIMIT).load(path.stem, len) is None:
        raise ValueError("the store of chunks cannot use it")


def _tensors(path):
    with safe_open(path, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118  no mapping
            file.get_tensor(name)


READERS = {".mp4": _video, ".webm": _video, ".gif": _animation, ".webp": _animation}
READERS |= {".json": _poses, ".npz": _cached_poses, ".frames": _chunk, ".safetensors": _tensors}
