"""A folder of videos becomes a store: frames, skeletons, photo and prompt of each, encoded once.

A video gives one clip, its beginning, or one for each window of it; a text file of the same name is its prompt. From
the paper (B.1): 81 frames, 16 a second, a resolution of 640 x 640 pixels in the aspect of the clip. Our choices: all
clips of a store have one size, that of the first video, or the nearest of several; others are cropped about their
center. Poses come from the pack's own pipeline and are not corrected. A clip of 5 s at 16 frames a second has 80
frames: one missing frame is the last one again.
"""

import hashlib
import itertools
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..dwpose.detect.detector import Detector
from ..dwpose.pipeline import draw_poses
from ..dwpose.poses import PoseClip
from ..dwpose.track.extract import apply_nobody_rule, extract
from ..media.atomic_write import atomic_write
from ..media.frame_size import MIN_FRAMES, MODEL_FPS, crop_fraction, default_size, valid_length
from ..media.frames import blank_video, crop, to_float
from ..media.log import logger
from ..media.video_stream import VideoStream
from .buckets import Bucket, buckets_of, open_stores, write_sizes
from .clip_parts import ALONE, Part, check_parts, join, remove_parts
from .clip_rows import LISTED, ClipRows
from .encoders import Encode, Encoders
from .latents import CHANGED, CHANGED_FRAMES, CLIP, PHOTO, PHOTO_FEATURES, POSE, POSE_FEATURES, TEXT, Store
from .pose_simulation import REACH, with_jump

VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")
AREA, FRAMES = 640 * 640, 81
MISSING = 1  # frames that a clip may lack
SEEN = 0.9  # share of the frames in which somebody must be seen
PROMPT = "A person is dancing."
NEGATIVE = (Path(__file__).parent / "negative_prompt.txt").read_text("utf-8").strip()  # Wan 2.1 image-to-video's
SHARED, PROMPTS = "shared.safetensors", "prompts"
NEGATIVE_TEXT, BLANK_POSE, BLANK_FEATURES = "negative_text", "blank_pose", "blank_features"


@dataclass(frozen=True)
class ClipSettings:
    """frames: of each clip, 4n + 1; size: (width, height) in pixels, multiples of 16, None is the first video's aspect
    at AREA; sizes: several in its place, of which a video gets the one nearest to its aspect; prompt: where a video has
    no text file; negative: the negative prompt of all clips; windows: a clip for every `frames` frames of a longer
    video, not only for its first ones."""

    frames: int = FRAMES
    size: tuple[int, int] | None = None
    prompt: str = PROMPT
    negative: str = NEGATIVE
    windows: bool = False
    sizes: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if self.frames < MIN_FRAMES or self.frames != valid_length(self.frames):
            raise ValueError(f"frames is {self.frames}; it must be 5, 9, 13 or another number of the form 4n + 1.")
        for width, height in (*self.sizes, *([self.size] if self.size else ())):
            if min(width, height) < 16 or width % 16 or height % 16:
                raise ValueError(f"The size is {width}x{height}; both sides must be multiples of 16.")
        if len(set(self.sizes)) < len(self.sizes):
            raise ValueError("A size is named twice. Name each size once.")


def prepare_clips(
    folder: Path,
    videos: Path,
    encoders: Encoders,
    detector: Detector,
    settings: ClipSettings = ClipSettings(),
    part: Part = ALONE,
) -> list[Store]:
    """Make the store `folder` of the videos below `videos`, or go on with it, and return the stores of its sizes.

    Videos that cannot be used are named in the log and in clips.json, and left out. Of several processes each encodes
    its part; the first one joins them, the others return no store. ValueError: there are no videos, or the folder was
    begun with other settings or another number of processes.
    """
    paths = listed(videos)
    sizes = settings.sizes or (settings.size or first_size(paths),)
    buckets = buckets_of(folder, paths, sizes)
    clips = [_Clips(bucket, videos, settings, part) for bucket in buckets]
    if part.is_main and len(sizes) > 1 and not all(one.rows.done for one in clips):
        write_sizes(folder, sizes)
    if not all(one.rows.done for one in clips):
        prompts = {path: prompt_of(path, settings.prompt) for path in paths}
        texts = read_prompts(folder / PROMPTS, [settings.negative, *prompts.values()], encoders, part)
        latent, see = encoders.latent(), encoders.see()
        for one in (one for one in clips if not one.rows.done):
            if part.is_main:
                shared = one.bucket.folder / SHARED
                _write_shared(shared, texts(settings.negative), one.bucket.size, settings.frames, latent, see)
            one.encode(detector, lambda path: _half(texts(prompts[path])), latent, see)
    if not part.is_main:
        return []
    for one in clips:
        one.finish(required=len(sizes) == 1)
    if len(sizes) > 1:
        write_sizes(folder, sizes, _with_clips(clips))
    shutil.rmtree(folder / PROMPTS, ignore_errors=True)
    return open_stores(folder)


class _Clips:
    """The clips of a bucket: rows of the store, and those that this process encodes."""

    def __init__(self, bucket: Bucket, videos: Path, settings: ClipSettings, part: Part):
        self.bucket, self.settings, self.part = bucket, settings, part
        self.cuts = [cut for path in bucket.paths for cut in cuts_of(path, name_of(videos, path), settings)]
        facts = {"videos": len(bucket.paths), "clips": len(self.cuts), "frames": settings.frames}
        self.facts = {**facts, "size": list(bucket.size)}
        check_parts(bucket.folder, part)
        self.rows = ClipRows(bucket.folder, len(self.cuts), self.facts)

    def encode(self, detector: Detector, text: Callable[[Path], np.ndarray], latent: Encode, see: Encode) -> None:
        """Encode this process's clips, or go on."""
        cuts, rows = self.part.of(self.cuts), self.rows
        if self.part.count > 1:
            rows = ClipRows(self.part.folder(self.bucket.folder), len(cuts), self.facts)
        for path, name, start in cuts:
            if rows.knows(name):
                continue
            try:
                frames, poses = read_clip(path, name, self.bucket.size, self.settings.frames, detector, start)
            except ValueError as error:
                logger.warning("%s is left out: %s", name, error)
                rows.leave_out(name, str(error))
                continue
            rows.add(name, encoded_clip(frames, poses, latent, see) | {TEXT: text(path)})
            logger.info("%s is encoded (%d of %d)", name, len(rows.clips) + len(rows.left_out), len(cuts))
        if self.part.count > 1:
            rows.finish(required=False)

    def finish(self, required: bool) -> None:
        """Have all clips in the store, those of other processes too."""
        if not self.rows.done:
            if self.part.count > 1:
                join(self.rows, [name for _, name, _ in self.cuts], self.part)
            self.rows.finish(required)
        remove_parts(self.bucket.folder, self.part)


def _with_clips(clips: Iterable[_Clips]) -> list[str]:
    """Return the folders of the sizes that have a clip. ValueError: none has."""
    found = [one.bucket.folder.name for one in clips if one.rows.clips]
    if not found:
        reasons = [reason for one in clips for reason in one.rows.left_out.values()]
        raise ValueError("None of the videos can be used:\n" + "\n".join(reasons[:LISTED]))
    return found


def listed(folder: Path) -> list[Path]:
    """Return the videos in a folder and below, sorted; ValueError if there are none."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEOS)
    if not found:
        raise ValueError(f"There is no video in {folder}. A video ends in one of {', '.join(VIDEOS)}.")
    return found


def cuts_of(path: Path, name: str, settings: ClipSettings) -> list[tuple[Path, str, int]]:
    """Return a video's clips: its path, the clip's name and first frame; a video that cannot be read has one."""
    count, frames = settings.frames, 0
    if settings.windows:
        with suppress(ValueError):  # reading the clip says why
            frames = VideoStream(str(path)).frames
    whole = max(1, (frames + MISSING) // count)
    return [(path, f"{name}#{start}" if start else name, start) for start in range(0, whole * count, count)]


def name_of(folder: Path, video: Path) -> str:
    """Return what a clip is called: its path below the folder."""
    return video.relative_to(folder).as_posix()


def prompt_of(video: Path, otherwise: str) -> str:
    """Return the text beside a video, or the other prompt where there is none. ValueError: it is not UTF-8."""
    path = video.with_suffix(".txt")
    try:
        text = path.read_text("utf-8-sig") if path.is_file() else ""
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8. Save it again as UTF-8.") from error
    return " ".join(text.split()) or otherwise


def first_size(paths: Iterable[Path]) -> tuple[int, int]:
    """Return (width, height): the aspect of the first video that can be read, at AREA pixels."""
    for path in paths:
        try:
            stream = VideoStream(str(path))
        except ValueError:
            continue
        return default_size(stream.width, stream.height, AREA)
    raise ValueError("None of the videos can be read. Export them again as MP4.")


def read_clip(
    path: Path, name: str, size: tuple[int, int], count: int, detector: Detector, start: int = 0
) -> tuple[np.ndarray, PoseClip]:
    """Return the frames uint8 [F, H, W, 3] and the poses of a video from frame `start` on.

    ValueError: too short, or nobody is found.
    """
    frames = read_frames(path, size, count, start)
    poses = extract(frames, detector)
    seen = poses.present
    if not seen[0]:
        raise ValueError(f"nobody is seen in the first frame of {name}, which is the photo. Cut the video later.")
    if seen.mean() < SEEN:
        raise ValueError(f"somebody is seen in {seen.sum()} of {count} frames of {name}; {SEEN:.0%} are needed.")
    return frames, apply_nobody_rule(poses, "hold")


def read_frames(path: Path, size: tuple[int, int], count: int, start: int = 0) -> np.ndarray:
    """Return frames of a video at MODEL_FPS from frame `start` on, cropped and shrunk to `size`, uint8 [F, H, W, 3]."""
    frames = []
    for frame in itertools.islice(VideoStream(str(path), start / MODEL_FPS), count):
        kept = crop_fraction(frame.shape[1::-1], *size)
        part = crop(torch.from_numpy(frame)[None], kept).movedim(-1, 1).float()
        shrunk = F.interpolate(part, size=size[::-1], mode="bicubic", antialias=True)
        frames.append(shrunk[0].round().clamp(0, 255).byte().movedim(0, -1).numpy())
    if len(frames) < count - MISSING:
        raise ValueError(
            f"{path.name} is too short: {len(frames)} frames at {MODEL_FPS:g} a second, {count} are needed "
            f"({count / MODEL_FPS:.2f} s)."
        )
    return np.stack(frames + frames[-1:] * (count - len(frames)))


def encoded_clip(frames: np.ndarray, poses: PoseClip, latent: Encode, see: Encode) -> dict[str, np.ndarray]:
    """Return a clip's arrays [1, ...] in float16."""
    height, width = frames.shape[1:3]
    starts = [with_jump(poses, reach).at(slice(CHANGED_FRAMES)) for reach in REACH]
    skeletons, *changed = map(torch.from_numpy, draw_poses([poses, *starts], (width, height)))
    pictures = to_float(frames)
    videos = {CLIP: pictures, POSE: skeletons, PHOTO: blank_video(pictures[:1], len(pictures))}
    out = {array: _half(latent(video)) for array, video in videos.items()}
    out[CHANGED] = np.stack([_half(latent(video)) for video in changed], axis=1)
    return out | {PHOTO_FEATURES: _half(see(pictures[:1])), POSE_FEATURES: _half(see(skeletons[:1]))}


def read_prompts(folder: Path, prompts: Iterable[str], encoders: Encoders, part: Part = ALONE):
    """Encode the prompts that are not in `folder` yet; return what gives [1, rows, width] of each, rows the longest's.

    Rows of zeros at a prompt's end, which ComfyUI fills up with, are not kept on the disk. Of several processes each
    begins with its own part and leaves out what another one has done meanwhile.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {prompt: folder / f"{hashlib.sha256(prompt.encode()).hexdigest()}.safetensors" for prompt in prompts}
    waiting = [prompt for prompt, path in paths.items() if not path.exists()]
    if waiting:
        read = encoders.read()
        turns = [
            prompt for index in range(part.count) for prompt in waiting[(part.index + index) % part.count :: part.count]
        ]
        for prompt in turns:
            if paths[prompt].exists():
                continue
            text = read(prompt)
            used = text[0].abs().amax(1).nonzero()
            length = int(used.max()) + 1 if len(used) else 1
            rows = torch.tensor(text.shape[1])
            _save(paths[prompt], {"text": text[:, :length].half().contiguous(), "rows": rows})
    longest = max(int(load_file(path)["rows"]) for path in paths.values())

    @lru_cache(maxsize=16)
    def padded(prompt: str) -> Tensor:
        kept = load_file(paths[prompt])["text"].float()
        return F.pad(kept, (0, 0, 0, longest - kept.shape[1]))

    return padded


def _write_shared(path: Path, negative: Tensor, size: tuple[int, int], count: int, latent: Encode, see: Encode) -> None:
    """Write what all clips share: the negative prompt, and a pose video without anybody."""
    if path.exists():
        return
    width, height = size
    blank = torch.zeros(count, height, width, 3)
    tensors = {NEGATIVE_TEXT: negative[0], BLANK_POSE: latent(blank), BLANK_FEATURES: see(blank[:1])}
    _save(path, {name: tensor.half().contiguous() for name, tensor in tensors.items()})


def _save(path: Path, tensors: dict[str, Tensor]) -> None:
    with atomic_write(path) as part:
        save_file(tensors, part)


def _half(tensor: Tensor) -> np.ndarray:
    return tensor.to(torch.float16).cpu().numpy()
