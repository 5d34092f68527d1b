"""What is computed around the model, each against a plain implementation in the same run; and how it grows.

Ratios are of process CPU time, medians of paired runs on one thread; what threads gain is in the wall time of the
drawing. `growth` prints milliseconds by frames and people, and the exponents between the shortest and the longest clip.
"""

import hashlib
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import av
import cv2
import numpy as np
import torch
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from PIL import Image

from benchmarks.pose_processing import golden_clip
from steadydancer_pack.comfy_client.in_process import use_comfyui
from steadydancer_pack.dwpose.draw import draw_clip, draw_person
from steadydancer_pack.dwpose.edit.align import Request, align
from steadydancer_pack.dwpose.edit.best_start import best_start
from steadydancer_pack.dwpose.formats import pose_json
from steadydancer_pack.dwpose.formats.keypoints import from_keypoints, to_keypoints
from steadydancer_pack.dwpose.poses import KEYPOINTS, PoseClip, Track
from steadydancer_pack.dwpose.track.track import link_rows
from steadydancer_pack.evaluation.evaluate import Case, evaluate
from steadydancer_pack.media.frame_converter import BT601, EXACT
from steadydancer_pack.media.video_stream import open_video
from steadydancer_pack.media.video_writer import Settings, write_video

WIDTH, HEIGHT, RATE, ROUNDS = 576, 1024, 16, 5
FRAMES, PEOPLE = (81, 600, 3000, 10000), (1, 2, 4)
CRF = 19
TO_YUV = {"dst_colorspace": Colorspace.ITU709, "src_color_range": ColorRange.JPEG, "dst_color_range": ColorRange.MPEG}
TO_RGB = {"src_colorspace": BT601, "dst_colorspace": BT601, "dst_color_range": ColorRange.JPEG}


class VideoFile:
    """ComfyUI's VIDEO of a file, untrimmed."""

    def __init__(self, path: Path):
        self.path = path

    def get_stream_source(self) -> str:
        return str(self.path)

    def get_active_trim_window(self) -> tuple[float, float]:
        return 0.0, 0.0


class Standing:
    """A pose detector that costs nothing: one person who stands still."""

    fingerprint, name, notes = "standing", "standing", []

    def prepare(self, make_room) -> None: ...

    def find(self, frame, *_) -> list:
        from steadydancer_pack.dwpose.detect.detector import Region

        return [Region(frame.shape[1] / 2, frame.shape[0] / 2, frame.shape[1] / 2, frame.shape[0] / 2)]

    def estimate(self, frame, regions) -> tuple[np.ndarray, np.ndarray]:
        points = dancing(1).tracks[0].points[0] * (frame.shape[1], frame.shape[0])
        return np.repeat(points[None], len(regions), 0), np.ones((len(regions), KEYPOINTS))

    def follow(self, *_) -> None: ...


class CountingVae:
    """A Wan 2.1 VAE in shapes. frames: how many it was given."""

    latent_channels = 16

    def __init__(self):
        from comfy.ldm.wan.vae import WanVAE

        self.first_stage_model, self.frames = WanVAE.__new__(WanVAE), 0

    def encode(self, pixels):
        self.frames += len(pixels)
        return torch.zeros(1, 16, (len(pixels) + 3) // 4, pixels.shape[1] // 8, pixels.shape[2] // 8)


def paired(ours: Callable, plain: Callable, rounds: int = ROUNDS, clock=time.process_time) -> tuple[float, float]:
    """Return the median milliseconds of both, run in turn; the first run of each does not count."""
    times: tuple[list, list] = ([], [])
    for _ in range(rounds + 1):
        for kept, call in zip(times, (ours, plain), strict=True):
            start = clock()
            call()
            kept.append(1000 * (clock() - start))
    return statistics.median(times[0][1:]), statistics.median(times[1][1:])


def dancing(frames: int, people: int = 1) -> PoseClip:
    """Return a dance with hands; each of several people jitters in a way of their own and stands somewhere else."""
    source, rng = golden_clip().tracks[0], np.random.default_rng(0)
    rows, tracks = np.arange(frames) % len(source.points), []
    for person in range(people):
        points = source.points[rows] + rng.normal(0, 0.002, (frames, KEYPOINTS, 2))
        points[..., 0] = (points[..., 0] + person) / people
        tracks.append(
            Track(person, points, np.where(source.scores[rows] > 0, rng.uniform(0.5, 1, (frames, KEYPOINTS)), 0))
        )
    return PoseClip(WIDTH, HEIGHT, frames, tuple(tracks))


def picture_clip(frames: int, width: int, height: int) -> np.ndarray:
    """Return uint8 [F, H, W, 3]: colored squares that move across the picture."""
    squares = np.random.default_rng(0).integers(0, 256, (height // 32 + 2, width // 32 + 2, 3), np.uint8)
    large = squares.repeat(32, 0).repeat(32, 1)
    return np.stack([large[i % 32 : i % 32 + height, i % 32 : i % 32 + width] for i in range(frames)])


def write_sample(path: Path, width: int, height: int, seconds: int) -> VideoFile:
    """Write an MP4 with sound."""
    pictures, samples = picture_clip(32, width, height), np.random.default_rng(0).integers(-9000, 9000, 96000 * seconds)
    with av.open(str(path), "w") as out:
        video, sound = (
            out.add_stream("libx264", rate=RATE, options={"preset": "ultrafast"}),
            out.add_stream("aac", 48000),
        )
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        for index in range(RATE * seconds):
            frame = av.VideoFrame.from_ndarray(pictures[index % 32], "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            out.mux(video.encode(frame))
        chunk = av.AudioFrame.from_ndarray(samples[None].astype(np.int16), "s16", "stereo")
        chunk.sample_rate, chunk.pts, chunk.time_base = 48000, 0, Fraction(1, 48000)
        out.mux(sound.encode(chunk))
        for stream in (video, sound):
            out.mux(stream.encode(None))
    return VideoFile(path)


def without_shrinking(clip: PoseClip, shrink: bool = False) -> None:
    """Draw a clip at twice its size, clearing the box of each frame; shrink: by PIL, that box."""
    canvas = np.zeros((2 * HEIGHT, 2 * WIDTH, 3), np.uint8)
    for frame in range(clip.frames):
        points = []
        for track in clip.tracks:
            draw_person(canvas, track, frame)
            points.append(track.points[frame][track.visible[frame]] * (2 * WIDTH, 2 * HEIGHT))
        left, top = np.maximum(np.concatenate(points).min(0).astype(int) // 2 * 2 - 20, 0)
        right, bottom = np.concatenate(points).max(0).astype(int) // 2 * 2 + 20
        box = canvas[top:bottom, left:right]
        if shrink:
            small = Image.fromarray(box).resize((box.shape[1] // 2, box.shape[0] // 2), Image.Resampling.BICUBIC)
            picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            picture[top // 2 : top // 2 + small.height, left // 2 : left // 2 + small.width] = small
        box[:] = 0


def plain_sound(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)


def plain_frames(path: Path) -> Iterable[np.ndarray]:
    """Yield a video's frames, converted with the same accuracy."""
    reformatter = VideoReformatter()
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield reformatter.reformat(frame, format="rgb24", interpolation=EXACT, **TO_RGB).to_ndarray()


def use_up(frames: Iterable[np.ndarray]) -> None:
    for _ in frames:
        pass


def encode_ready(path: Path, frames: list[av.VideoFrame]) -> None:
    with av.open(str(path), "w", options={"movflags": "use_metadata_tags+faststart"}) as out:
        video = out.add_stream("libx264", rate=RATE, options={"preset": "medium", "crf": str(CRF)})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index, frame in enumerate(frames):
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))


def separable_ssim(a: np.ndarray, b: np.ndarray) -> list[float]:
    """Return the SSIM of each pair of frames [F, H, W, 3]: Gaussian window of 11 pixels, rows then columns."""
    window = np.float32(np.exp(-((np.arange(11) - 5.0) ** 2) / (2 * 1.5**2)))
    blur: Callable[..., Any] = partial(
        cv2.sepFilter2D, ddepth=-1, kernelX=window / window.sum(), kernelY=window / window.sum()
    )
    scores = []
    for x, y in zip(a, b, strict=True):
        mx, my, xx, yy, xy = (np.asarray(blur(values)) for values in (x, y, x * x, y * y, x * y))
        top = (2 * mx * my + 0.01**2) * (2 * (xy - mx * my) + 0.03**2)
        scores.append(float((top / ((mx**2 + my**2 + 0.01**2) * (xx - mx**2 + yy - my**2 + 0.03**2))).mean()))
    return scores


def compact(poses: list[dict]) -> str:
    """Return poses as Save Poses writes them."""
    with tempfile.TemporaryDirectory() as folder:
        pose_json.save(from_keypoints(poses), Path(folder, "poses.json"))
        return Path(folder, "poses.json").read_text("utf-8")


def pose_ratios() -> Iterable[tuple[str, float, float]]:
    """Yield what is measured of poses, and the milliseconds of ours and of the plain implementation."""
    from steadydancer_pack.nodes.common.pose_images import draw_images
    from steadydancer_pack.nodes.pose_align import AlignPoses

    clip = dancing(24)
    draw = lambda: draw_images([clip], WIDTH, HEIGHT)  # noqa: E731
    yield "draw: wall / PIL", *paired(draw, lambda: without_shrinking(clip, shrink=True), clock=time.perf_counter)
    yield "draw: CPU / PIL", *paired(draw, lambda: without_shrinking(clip, shrink=True))
    shrunk = lambda: use_up(draw_clip(clip, WIDTH, HEIGHT))  # noqa: E731
    yield "draw: CPU / without shrinking", *paired(shrunk, lambda: without_shrinking(clip))
    poses = to_keypoints(dancing(600))
    text = compact(poses)
    foreign = json.loads(text)
    yield "from_keypoints / json.loads", *paired(lambda: from_keypoints(foreign), lambda: json.loads(text))
    yield "from_keypoints, own / json.loads", *paired(lambda: from_keypoints(poses), lambda: json.loads(text))
    photo, standing, few = torch.zeros(1, HEIGHT, WIDTH, 3), to_keypoints(dancing(1)), to_keypoints(dancing(6))
    photo[:, ::64] = 0.5
    inputs = {i.id: getattr(i, "default", None) for i in AlignPoses.GET_SCHEMA().inputs}
    defaults = {name: value for name, value in inputs.items() if value is not None}
    poses_and_photo = {"poses": few, "photo": photo, "photo_poses": standing, "mode": "robust"}
    node = lambda: AlignPoses.execute(**{**defaults, **poses_and_photo})  # noqa: E731
    pure = lambda: align(dancing(1), dancing(6), Request((WIDTH, HEIGHT)))  # noqa: E731
    yield "Align Poses of 6 frames / align", *paired(node, pure)


def media_ratios(folder: Path) -> Iterable[tuple[str, float, float]]:
    """Yield the same of videos."""
    from steadydancer_pack.media.audio_track import read_audio
    from steadydancer_pack.nodes import pose_extract

    video = write_sample(folder / "dance.mp4", WIDTH, HEIGHT, 5)
    stream = open_video(video)  # as the nodes have it already
    sound = lambda: read_audio(video, stream=stream)  # noqa: E731
    yield "read_audio / audio decode", *paired(sound, lambda: plain_sound(video.path))
    frames = lambda: use_up(open_video(video))  # noqa: E731
    yield "video to frames / decode", *paired(frames, lambda: use_up(plain_frames(video.path)))
    images = torch.from_numpy(picture_clip(24, WIDTH, HEIGHT)).float() / 255
    pixels = [av.VideoFrame.from_ndarray((image * 255).round().byte().numpy(), "rgb24") for image in images]
    ready = [frame.reformat(format="yuv420p", **TO_YUV) for frame in pixels]
    target = folder / "result.mp4"

    def combine() -> None:
        target.unlink(missing_ok=True)
        write_video([target], images, RATE, Settings(crf=CRF))

    yield "write_video / encode", *paired(combine, lambda: encode_ready(folder / "plain.mp4", ready))
    noisy = (images + 0.02 * torch.randn(images.shape)).clamp(0, 1)
    measure = lambda: evaluate(Case(noisy, ground_truth=images))  # noqa: E731
    yield "evaluate / separable SSIM", *paired(measure, lambda: separable_ssim(noisy.numpy(), images.numpy()), rounds=2)
    large = write_sample(folder / "large.mp4", 3840, 2160, 10)
    extract: Any = pose_extract.ExtractPoses.execute
    hit = partial(extract, Standing(), RATE, RATE, 5, 1, "hold", 0, True, 1024, video=large)

    def plain() -> None:
        hashlib.blake2b(large.path.read_bytes()).digest()
        plain_sound(large.path)

    with mock.patch.object(pose_extract, "cache_folder", lambda: folder / "cache"):
        hit()
        yield "cache hit on 10 s of 4K / hash, sound", *paired(hit, plain)


def count_encoded() -> tuple[int, int]:
    """Return the frames that Reconcile Conditions encodes at 100 latent frames, and how many are needed."""
    from steadydancer_pack.steadydancer_core.sampling.conditions import reconcile

    length, text = 397, [[torch.zeros(1, 512, 64), {}]]
    vae, pose = CountingVae(), torch.zeros(length, 16, 16, 3)
    reconcile(text, text, vae, pose[:1], pose, pose, width=16, height=16, length=length)
    return vae.frames, 2 * length + min(length, 117)


def ghosts(frames: int, people: int) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """Return the input of linking: a dance that is mirrored every 100 frames, and somebody else in every 37th frame."""
    clip = dancing(frames, people + 1)
    seen = np.ones((frames, people + 1), bool)
    seen[:, people] = np.arange(frames) % 37 == 0
    where, who = np.nonzero(seen)
    points, scores = (np.stack([getattr(t, key) for t in clip.tracks])[who, where] for key in ("points", "scores"))
    points[where // 100 % 2 == 1, :, 0] *= -1
    return frames, where, points, scores


def growth() -> None:
    """Print milliseconds by people and frames, and for each number of people the exponent of the growth."""
    standing = dancing(1, max(PEOPLE))
    steps: dict[str, Callable[[PoseClip, PoseClip, list, tuple], object]] = {
        "write": lambda clip, *_: to_keypoints(clip),
        "parse": lambda _clip, _photo, poses, _: from_keypoints([*poses]),
        "read own": lambda _clip, _photo, poses, _: from_keypoints(poses),
        "align": lambda clip, photo, *_: align(photo, clip, Request((WIDTH, HEIGHT))),
        "best start": lambda clip, photo, *_: best_start(clip, photo),
        "linking": lambda _clip, _photo, _poses, linked: link_rows(*linked, lambda: None),
    }
    sys.stdout.write("people  frames" + "".join(f"{name:>12}" for name in steps) + "\n")
    for people in PEOPLE:
        photo, rows = standing.with_tracks(standing.tracks[:people]), []
        for frames in FRAMES:
            clip = dancing(frames, people)
            given = clip, photo, to_keypoints(clip), ghosts(frames, people)
            rows.append([paired(partial(step, *given), lambda: None, rounds=1)[0] for step in steps.values()])
            sys.stdout.write(f"{people:6}{frames:8}" + "".join(f"{ms:12.1f}" for ms in rows[-1]) + "\n")
            sys.stdout.flush()
        exponents = [
            math.log(last / first) / math.log(FRAMES[-1] / FRAMES[1])
            for first, last in zip(rows[1], rows[-1], strict=True)
        ]
        sys.stdout.write(f"{people:6}exponent" + "".join(f"{value:12.2f}" for value in exponents) + "\n")


def main() -> None:
    use_comfyui()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if "growth" in sys.argv[1:]:
        growth()
        return
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else math.nan
    sys.stdout.write(f"{os.cpu_count()} cores, load {load:.1f}\n{'':40}{'ours ms':>9}{'plain ms':>9}{'ratio':>7}\n")
    with tempfile.TemporaryDirectory() as folder:
        for measure in (pose_ratios(), media_ratios(Path(folder))):
            for name, ours, plain in measure:
                sys.stdout.write(f"{name:40}{ours:9.1f}{plain:9.1f}{ours / plain:7.2f}\n")
                sys.stdout.flush()
    encoded, needed = count_encoded()
    sys.stdout.write(f"{'frames encoded / needed':40}{encoded:9}{needed:9}{encoded / needed:7.2f}\n")


if __name__ == "__main__":
    main()
