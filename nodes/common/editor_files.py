"""Files for the pose editor in ComfyUI's page, which reads them through ComfyUI's own view of its folders.

Each name comes from the content, so a file is written once, and the page may keep what it fetched.
"""

import hashlib
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import folder_paths
from comfy_api.latest import Input, InputImpl, Types
from PIL import Image
from torch import Tensor

from ...dwpose.edit.facing_json import facing_json
from ...dwpose.formats.packed_poses import name_of, pack_poses
from ...dwpose.poses import PoseClip
from ...media.atomic_write import atomic_write
from ...media.frames import to_rgb, to_uint8
from ...media.sampled_hash import sampled_hash
from ...media.video_stream import in_memory

SHOWN_FOLDERS = ("input", "output", "temp")
PHOTO_QUALITY = 90
PIECES, PIECE = 32, 1 << 14  # numbers of a batch of frames that go into its name


def poses_file(clip: PoseClip) -> dict:
    """Return the reference to the packed poses; ValueError for too many, OSError if the temp folder takes no file."""
    content = pack_poses(clip)
    return _written(name_of(content), content)


def facing_file(clip: PoseClip) -> dict:
    """Return the reference to the turns of the people, computed only where these poses have no such file yet."""
    path = _temp(name_of(pack_poses(clip))).with_suffix(".json")
    if path.is_file():
        return _reference(path.name)
    return _written(path.name, facing_json(clip).encode())


def images_file(images: Tensor, fps: float) -> dict:
    """Return the reference to a photo as JPEG, or to frames, IMAGE [F, H, W, C], as MP4, with its "kind"."""
    images = to_rgb(images)
    if len(images) > 1:
        return _video_of(images, fps)
    stream = BytesIO()
    Image.fromarray(to_uint8(images[0])).save(stream, "JPEG", quality=PHOTO_QUALITY)
    content = stream.getvalue()
    name = f"steadydancer_photo_{hashlib.sha256(content).hexdigest()[:16]}.jpg"
    return {**_written(name, content), "kind": "photo"}


def video_file(video: Input.Video) -> dict:
    """Return the reference to a VIDEO with its "kind" and "start", in seconds.

    A file that ComfyUI's page can show stays where it is; any other is written once to the temp folder.
    """
    components = in_memory(video)
    if components is not None:
        return _video_of(components.images, components.frame_rate, video)
    source, (start, _) = video.get_stream_source(), video.get_active_trim_window()
    if isinstance(source, BytesIO):
        digest = hashlib.sha256(source.getbuffer()).hexdigest()
    else:
        shown = _shown(Path(source))
        if shown:
            return {**shown, "kind": "video", "start": start}
        digest = sampled_hash(Path(source))
    path = _temp(f"steadydancer_video_{digest[:16]}.mp4")
    if not path.is_file():
        _save(InputImpl.VideoFromFile(source), path)
    return {**_reference(path.name), "kind": "video", "start": start}


def _video_of(images: Tensor, fps: float | Fraction, video: Input.Video | None = None) -> dict:
    """Return the reference to frames as MP4; video: the one that they are, with its sound."""
    flat = images.reshape(-1)
    digest = hashlib.sha256(f"{tuple(images.shape)} {fps}".encode())
    last = max(0, len(flat) - PIECE)
    for start in dict.fromkeys(last * index // (PIECES - 1) for index in range(PIECES)):
        digest.update(flat[start : start + PIECE].cpu().float().contiguous().numpy())
    path = _temp(f"steadydancer_frames_{digest.hexdigest()[:16]}.mp4")
    if not path.is_file():
        height, width = (side - side % 2 for side in images.shape[1:3])  # H.264 takes even sizes
        audio = in_memory(video).audio if video is not None else None
        even = Types.VideoComponents(images=images[:, :height, :width, :3], audio=audio, frame_rate=Fraction(fps))
        _save(InputImpl.VideoFromComponents(even), path)
    return {**_reference(path.name), "kind": "video", "start": 0.0}


def _save(video: Input.Video, path: Path) -> None:
    """Write the whole video; ComfyUI goes by the ending of the name that it writes to."""
    with TemporaryDirectory(dir=path.parent) as folder:
        part = Path(folder, path.name)
        video.save_to(str(part), format=Types.VideoContainer.MP4, codec=Types.VideoCodec.H264)
        part.replace(path)


def _shown(source: Path) -> dict | None:
    """Return the reference to a file in a folder that the page can show, else None."""
    for kind in SHOWN_FOLDERS:
        folder = Path(cast(str, folder_paths.get_directory_by_type(kind)))
        if source.is_relative_to(folder):
            below = source.relative_to(folder)
            subfolder = "" if below.parent == Path() else below.parent.as_posix()
            return {"filename": below.name, "subfolder": subfolder, "type": kind}
    return None


def _written(name: str, content: bytes) -> dict:
    path = _temp(name)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as part:
            part.write_bytes(content)
    return _reference(name)


def _temp(name: str) -> Path:
    return Path(folder_paths.get_temp_directory(), name)


def _reference(name: str) -> dict:
    return {"filename": name, "subfolder": "", "type": "temp"}
