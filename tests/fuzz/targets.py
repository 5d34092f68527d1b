"""What is fuzzed: a reader of files, valid files to begin with, and what must hold of everything it accepts.

A target writes one input into a folder, then reads it. It may refuse with ValueError, whose text is shown to the
artist; any other exception is a crash, and a failed assertion a silently wrong result.
"""

import io
import json
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from itertools import islice
from pathlib import Path
from random import Random

import av
import numpy as np
import torch
from comfy_api.latest import InputImpl
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from steadydancer_pack.doctor.model_files import look_at
from steadydancer_pack.dwpose.formats import pose_json
from steadydancer_pack.dwpose.formats.dialects import write
from steadydancer_pack.dwpose.formats.keypoints import from_keypoints
from steadydancer_pack.dwpose.poses import KEYPOINTS, PoseClip, Track
from steadydancer_pack.dwpose.track.pose_cache import PoseCache, SeenVideo
from steadydancer_pack.media.audio_track import read_audio
from steadydancer_pack.media.disk_cache import DiskCache
from steadydancer_pack.media.frame_files import SUFFIX, pack, unpack
from steadydancer_pack.media.video_stream import open_video
from steadydancer_pack.miniature.weights import steadydancer_state_dict
from steadydancer_pack.steadydancer_core.weights import prompt_embeddings
from steadydancer_pack.steadydancer_core.weights.checkpoint import check_file
from steadydancer_pack.steadydancer_core.weights.gguf_header import read_gguf_header, recipe_of
from steadydancer_pack.steadydancer_core.weights.weight_source import open_weights
from steadydancer_pack.tests.fuzz.mutations import mutate_bytes, mutate_json, to_json
from steadydancer_pack.tests.model_files import write_gguf, write_shards

Target = Callable[[Path, Random], None]
GGUF_HEAD = 400  # bytes, which hold all of its names
LENGTH = 8  # bytes of a safetensors header's length
MOST_FRAMES, MOST_ROWS = 100, 1024
SMALL = {"dim": 128, "ffn_dim": 64, "layers": 1, "text_dim": 16}
KEY = "a" * 64
LIMIT = 2**30
VIDEOS = (  # container, codec, sound
    ("mp4", "libx264", "aac"),
    ("matroska", "libx264", "pcm_s16le"),
    ("mov", "mpeg4", None),
    ("webm", "libvpx", "libopus"),
    ("gif", "gif", None),
    ("avi", "mpeg4", "pcm_s16le"),
    ("mpegts", "mpeg2video", "mp2"),
    ("flv", "flv", None),
)


def clip(people: int = 2, frames: int = 6, seed: int = 0) -> PoseClip:
    """Return people who walk to the right, one beside the other."""
    random = np.random.default_rng(seed)
    body = random.uniform(0.2, 0.4, (KEYPOINTS, 2))
    drift = np.linspace(0, 0.1, frames)[:, None, None] * [1, 0]
    tracks = [Track(i, body + drift + [0.3 * i, 0], np.full((frames, KEYPOINTS), 0.9)) for i in range(people)]
    return PoseClip(512, 768, frames, tuple(tracks))


def poses(folder: Path, random: Random) -> None:
    """A pose file: what is accepted is finite, and nobody whose body was seen is lost when it is written again."""
    frames = json.loads(json.dumps(write(clip(random.randint(1, 3), random.randint(1, 6), random.randrange(4)))))
    for frame in frames:
        frame["people"] = [_foreign(person, random) for person in frame["people"]]
    data = mutate_json(frames, random)
    if random.random() < 0.2:
        data = {"openpose_json": json.dumps(data)}
    file = folder / "poses.json"
    file.write_bytes(mutate_bytes(to_json(data), random) if random.random() < 0.2 else to_json(data))
    found, fps = pose_json.load(file, (512, 768) if random.random() < 0.5 else None)
    assert fps is None or 0 < fps < 1000
    assert found.frames >= 1 and min(found.width, found.height) >= 1
    for track in found.tracks:
        assert track.points.shape == (found.frames, KEYPOINTS, 2) and track.scores.shape == (found.frames, KEYPOINTS)
        assert np.isfinite(track.points).all() and np.isfinite(track.scores).all()
    again = from_keypoints(json.loads(json.dumps(write(found))))
    present = [track for track in found.tracks if track.present.any()]
    assert len(again.tracks) == len(present) and again.frames == found.frames


def _foreign(person: dict, random: Random) -> dict:
    """Return a person as another pack writes it: without our extra keys, some lists missing."""
    kept = {key: value for key, value in person.items() if key.endswith("_2d") and key != "body_raw_2d"}
    hands = [key for key in kept if "hand" in key or "face" in key]
    if random.random() < 0.5:
        kept = {key: value for key, value in kept.items() if key not in hands}
    return person if random.random() < 0.4 else kept


def _safetensors(random: Random, valid: bytes) -> bytes:
    """Return a mutated file: as often in its JSON header, whose length then fits, as anywhere."""
    if random.random() < 0.5:
        return mutate_bytes(valid, random)
    length = int.from_bytes(valid[:LENGTH], "little")
    header = json.loads(valid[LENGTH : LENGTH + length])
    text = to_json(mutate_json(header, random))
    return len(text).to_bytes(LENGTH, "little") + text + valid[LENGTH + length :]


def weights(folder: Path, random: Random) -> None:
    """A safetensors file: names, shapes and values as the reference library reads them, or refused."""
    tensors = {f"layer.{i}.weight": torch.arange(6.0).reshape(2, 3) + i for i in range(random.randint(1, 4))}
    file = folder / "model.safetensors"
    file.write_bytes(_safetensors(random, save(tensors, {"format": "pt"})))
    look_at("diffusion_models", file.name, file)
    source = open_weights(file)
    try:
        wanted = load_file(file)
    except SafetensorError as error:
        raise AssertionError(f"accepted, though safetensors refuses it: {error}") from error
    assert set(source.tensors) == set(wanted)
    for name, tensor in wanted.items():
        found = source.read(name)
        assert found.dtype == tensor.dtype and found.shape == tensor.shape
        assert found.numpy(force=True).tobytes() == tensor.numpy(force=True).tobytes()


def checkpoint(folder: Path, random: Random) -> None:
    """A whole small SteadyDancer: recognised, or refused before anything is loaded."""
    file = folder / "steadydancer.safetensors"
    file.write_bytes(_safetensors(random, _small_model()))
    look_at("diffusion_models", file.name, file)
    contents = check_file(file)
    assert contents.tensors and all(info.nbytes >= 0 for info in contents.tensors.values())


@cache
def _small_model() -> bytes:
    return save({name: weight.half() for name, weight in steadydancer_state_dict(**SMALL).items()})


def gguf(folder: Path, random: Random) -> None:
    """A GGUF header: no tensor beyond the end of the file."""
    tensors = {f"blocks.{i}.weight": torch.ones(64, 32) for i in range(random.randint(1, 3))}
    file = write_gguf(folder / "steadydancer.gguf", tensors, random.choice(("F16", "Q8_0")), {"general.file_type": 7})
    head = file.read_bytes()
    if random.random() < 0.8:
        file.write_bytes(mutate_bytes(head[:GGUF_HEAD], random) + head[GGUF_HEAD:])
    else:
        file.write_bytes(mutate_bytes(head, random))
    look_at("unet", file.name, file)
    header = read_gguf_header(file)
    assert recipe_of(header)
    assert all(0 <= tensor.nbytes <= file.stat().st_size for tensor in header.tensors.values())


def prompt(folder: Path, random: Random) -> None:
    """A prompt-embedding file: embeddings of three dimensions and no more rows than a text encoder gives."""
    file = folder / "prompt.safetensors"
    conditioning = [[torch.ones(1, 7, 16), {"pooled_output": None, "attention_mask": torch.ones(1, 7)}]]
    prompt_embeddings.save(conditioning * random.randint(1, 2), file, "a dance")
    data = file.read_bytes()
    if random.random() < 0.6:
        length = int.from_bytes(data[:LENGTH], "little")
        header = json.loads(data[LENGTH : LENGTH + length])
        metadata = header["__metadata__"]
        metadata["entries"] = json.dumps(mutate_json(json.loads(metadata["entries"]), random))
        del metadata["checksum"]  # as files of earlier versions: what is behind it is looked at too
        text = to_json(header)
        data = len(text).to_bytes(LENGTH, "little") + text + data[LENGTH + length :]
    else:
        data = _safetensors(random, data)
    file.write_bytes(data)
    for cond, extra in prompt_embeddings.load(file):
        assert cond.ndim == 3 and cond.shape[1] <= MOST_ROWS and isinstance(extra, dict)


def shards(folder: Path, random: Random) -> None:
    """A folder of shards with its index, one of them mutated: read whole, or refused."""
    tensors = {f"blocks.{i}.weight": torch.full((2, 2), float(i)) for i in range(6)}
    index = write_shards(folder / "model", tensors)
    victim = index if random.random() < 0.6 else random.choice(sorted(index.parent.glob("*.safetensors")))
    if victim == index and random.random() < 0.7:
        victim.write_bytes(to_json(mutate_json(json.loads(index.read_text("utf-8")), random)))
    else:
        victim.write_bytes(mutate_bytes(victim.read_bytes(), random))
    source = open_weights(index.parent)
    for name in source.tensors:
        assert source.files[name].parent == index.parent
        assert source.read(name).shape == source.tensors[name].shape


def chunk(folder: Path, random: Random) -> None:
    """A kept chunk: what was kept, bit for bit, or nothing."""
    frames = torch.linspace(0, 1, 2 * 8 * 6 * 3).half().float().reshape(2, 8, 6, 3)
    store = DiskCache(folder, SUFFIX, LIMIT)
    assert store.save(KEY, pack(frames))
    _mutate_files(folder, random)
    found = store.load(KEY, lambda content: unpack(content, tuple(frames.shape)))
    assert found is None or torch.equal(found.float(), frames)


def cached_poses(folder: Path, random: Random) -> None:
    """A kept search for poses: what was kept, with its note and pictures, or nothing."""
    kept = SeenVideo(clip(), "The video breaks off.", {3: np.full((4, 5, 3), 7, np.uint8)})
    cache = PoseCache(folder, LIMIT)
    cache.store(KEY[:40], kept)
    _mutate_files(folder, random)
    found = cache.load(KEY[:40])
    if found is None:
        return
    assert found.note == kept.note and found.pictures.keys() == kept.pictures.keys()
    assert all(getattr(found.clip, name) == getattr(kept.clip, name) for name in ("width", "height", "frames"))
    assert all(np.array_equal(found.pictures[frame], kept.pictures[frame]) for frame in kept.pictures)
    for one, other in zip(found.clip.tracks, kept.clip.tracks, strict=True):
        assert one.identity == other.identity
        assert np.array_equal(one.points, other.points) and np.array_equal(one.scores, other.scores)


def _mutate_files(folder: Path, random: Random) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            file.write_bytes(mutate_bytes(file.read_bytes(), random))


def media(folder: Path, random: Random) -> None:
    """A driving video, from a file or from bytes: frames of one size, and sound within bounds."""
    data = mutate_bytes(VALID[random.randrange(len(VALID))], random)
    if random.random() < 0.5:
        source = str(folder / "video.mp4")
        Path(source).write_bytes(data)
    else:
        source = io.BytesIO(data)
    video = InputImpl.VideoFromFile(source)
    stream = open_video(video)
    frames = [*islice(stream, MOST_FRAMES)]
    assert frames and all(f.dtype == np.uint8 and f.shape == (stream.height, stream.width, 3) for f in frames)
    audio = read_audio(video)
    assert audio is None or (audio["sample_rate"] > 0 and torch.isfinite(audio["waveform"]).all())


def make_video(container: str, codec: str, sound: str | None) -> bytes:
    """Return 12 small frames at 12 frames per second with sound."""
    file, pixels = io.BytesIO(), "rgb8" if codec == "gif" else "yuv420p"
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=12)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        track = output.add_stream(sound, rate=48000) if sound else None
        for i in range(12):
            picture = np.full((48, 64, 3), 20 * i, np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=pixels)))
        output.mux(stream.encode())
        if track:
            silence = np.zeros((1, 48000 * len(track.layout.channels)), np.int16)
            frame = av.AudioFrame.from_ndarray(silence, "s16", track.layout.name)
            frame.sample_rate, frame.pts, frame.time_base = 48000, 0, Fraction(1, 48000)
            output.mux(track.encode(frame))
            output.mux(track.encode())
    return file.getvalue()


def _picture(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(file, kind)
    return file.getvalue()


VALID = [*(make_video(*video) for video in VIDEOS), _picture("PNG"), _picture("GIF")]
TARGETS: dict[str, Target] = {"pose_json": poses, "safetensors": weights, "checkpoint": checkpoint, "gguf": gguf}
TARGETS |= {"prompt_embeddings": prompt, "shard_index": shards, "chunk_store": chunk, "pose_cache": cached_poses}
TARGETS["media"] = media
