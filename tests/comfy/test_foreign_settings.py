"""Settings of the whole process that other packs change: nothing hangs, and results stay the same."""

import ast
import gc
import logging
import os
import random
import subprocess
import sys
import warnings
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import av
import av.logging
import comfy.clip_vision
import comfy.sd
import comfy.utils
import cv2
import folder_paths
import numpy as np
import pytest
import torch
from comfy_api.latest import InputImpl
from PIL import Image

from steadydancer_pack.media import video_writer
from steadydancer_pack.media.video_stream import VideoStream
from steadydancer_pack.miniature import shipped
from steadydancer_pack.nodes.animate import AnimateFromVideo
from steadydancer_pack.steadydancer_core.long_video.color_match import match_colors
from steadydancer_pack.steadydancer_core.sampling import run as sampling
from steadydancer_pack.steadydancer_core.sampling.conditions import reconcile
from steadydancer_pack.steadydancer_core.sampling.guidance import PoseGuidance, TextGuidance
from steadydancer_pack.steadydancer_core.sampling.presets import Settings
from steadydancer_pack.steadydancer_core.weights import detection, prompt_embeddings
from steadydancer_pack.steadydancer_core.weights.loading import load_model

PACK = Path(__file__).resolve().parents[2]
SECONDS = 60  # after which a process that has not ended counts as frozen
# torchvision up to 0.25 sets this level when it is imported. FFmpeg's threads then wait for Python to log.
READER = """
import sys
from types import ModuleType
import av.logging
av.logging.set_level(av.logging.ERROR)
pack = ModuleType("steadydancer_pack")
pack.__path__ = [sys.argv[1]]
sys.modules["steadydancer_pack"] = pack
from steadydancer_pack.media.video_stream import VideoStream

class Cancelled(Exception):
    pass

def cancel(stream):
    try:
        for _ in stream:
            raise Cancelled
    except Cancelled:
        return

for file in sys.argv[2:]:
    print(len(list(VideoStream(file, fps=0))), flush=True)
    early = iter(VideoStream(file))
    next(early)
    early.close()
    cancel(VideoStream(file))
    print("closed", flush=True)
"""
CODECS = {"libx264": {}, "libx265": {"x265-params": "log-level=none"}}


def moving_video(path, codec, frames=24, height=360, width=640):
    """Write a picture of noise that moves: enough work for several threads at once."""
    noise = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=24, options={"preset": "ultrafast", **CODECS[codec]})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(noise, 5 * index, 1), "rgb24")))
        output.mux(stream.encode(None))
    return path


def test_videos_are_read_whole_and_in_part_while_ffmpeg_logs_to_python(tmp_path):
    files = [str(moving_video(tmp_path / f"{codec}.mp4", codec)) for codec in CODECS]
    try:
        done = subprocess.run(
            [sys.executable, "-c", READER, str(PACK), *files], capture_output=True, text=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired as frozen:
        pytest.fail(f"frozen after: {(frozen.stdout or b'').split()}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["24", "closed"] * len(files)


# What other packs set for the whole process

SIDE, FRAMES, SECONDS_OF_DANCE = 48, 5, 0.25
RUN = Settings("test", 2, TextGuidance(5.0), PoseGuidance(1.0, 0.0, 1.0), "official unipc")


def set_warnings(filters):
    warnings.filters[:] = filters
    warnings._filters_mutated()


def read_umask():
    mask = os.umask(0o22)
    os.umask(mask)
    return mask


def seed(number):
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


SETTINGS = {  # how to read, how to set, and what others set
    "float64 by default": (torch.get_default_dtype, torch.set_default_dtype, torch.float64),
    "bfloat16 by default": (torch.get_default_dtype, torch.set_default_dtype, torch.bfloat16),
    "gradients off": (torch.is_grad_enabled, torch.set_grad_enabled, False),
    "deterministic": (torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms, True),
    "anomalies": (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly, True),
    "denormals": (bool, torch.set_flush_denormal, True),
    "seeds": (lambda: 0, seed, 9),
    "numpy raises": (np.geterr, lambda kinds: np.seterr(**kinds), {"all": "raise"}),
    "numpy prints": (np.get_printoptions, lambda form: np.set_printoptions(**form), {"precision": 1, "legacy": "1.13"}),
    "warnings are errors": (warnings.filters.copy, set_warnings, [("error", None, Warning, None, 0)]),
    "logging off": (lambda: logging.root.manager.disable, logging.disable, logging.CRITICAL),
    "ffmpeg logs": (av.logging.get_level, av.logging.set_level, av.logging.ERROR),
    "pillow unbounded": (lambda: Image.MAX_IMAGE_PIXELS, partial(setattr, Image, "MAX_IMAGE_PIXELS"), None),
    "opencv threads": (cv2.getNumThreads, cv2.setNumThreads, 1),
    "another folder": (os.getcwd, os.chdir, os.path.abspath(os.sep)),
    "umask": (read_umask, os.umask, 0o277),
    "no collection": (gc.isenabled, lambda on: gc.enable() if on else gc.disable(), False),
}


@contextmanager
def changed(name):
    read, change, value = SETTINGS[name]
    before = read()
    change(value)
    try:
        yield
    finally:
        change(before)


@pytest.fixture(scope="module")
def networks():
    """The miniature and its VAE."""
    detection.register()
    with torch.inference_mode():
        vae = comfy.sd.VAE(sd=comfy.utils.load_torch_file(str(shipped("steadydancer_miniature_vae.safetensors"))))
        return load_model(shipped("steadydancer_miniature.safetensors"), {"dtype": torch.float32}), vae


@torch.inference_mode()
def prepare(vae):
    """Return what becomes of the sample before it is sampled: outputs of the node, by name, and the conditions."""
    with Image.open(shipped("steadydancer_sample.png")) as file:
        photo = torch.from_numpy(np.array(file.convert("RGB")))[None].float() / 255
    video = InputImpl.VideoFromFile(str(shipped("steadydancer_sample_dance.mp4")), duration=SECONDS_OF_DANCE)
    size = {"size": "custom", "width": SIDE, "height": SIDE}
    animated = AnimateFromVideo.execute(photo, size, video, lead_in=1, seed=1).result
    pose, negative, _, fps, audio = animated[:5]
    files = [shipped(f"steadydancer_miniature_{name}.safetensors") for name in ("positive", "negative")]
    prompts = map(prompt_embeddings.load, files)
    conditions = reconcile(*prompts, vae, photo, pose, negative, width=SIDE, height=SIDE, length=FRAMES)
    tinted = match_colors(pose, negative[:2], photo[:, :SIDE, :SIDE], 1.0)
    made = {"animated": animated, "fps": fps, "conditions": conditions[:4], "tinted": tinted}
    return made, audio


@torch.inference_mode()
def run(networks, folder):
    """Return what becomes of the sample on its way from a photo and a video to a video, by name."""
    model, vae = networks
    made, audio = prepare(vae)
    latent, report = sampling.run(model, *made["conditions"], 1, RUN)
    frames = vae.decode(latent["samples"])[0]
    video_writer.write_video([folder / "dance.mp4"], frames, made["fps"], video_writer.Settings(crf=0), audio)
    read = np.stack(list(VideoStream(str(folder / "dance.mp4"), fps=0)))
    return made | {"latent": latent["samples"], "frames": frames, "report": report.text, "read": read}


@pytest.fixture(scope="module")
def usual(networks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("usual")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder_paths, "user_directory", str(folder))
        return run(networks, folder)


def differences(found, wanted):
    """Return the names of what differs, in a bit or in kind."""
    return [name for name, value in wanted.items() if not same(found[name], value)]


def same(one, other):
    if isinstance(other, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in other)
    if isinstance(other, comfy.clip_vision.Output):
        return same(one.penultimate_hidden_states, other.penultimate_hidden_states)
    return one == other


@pytest.fixture
def user_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_paths, "user_directory", str(tmp_path))
    return tmp_path


GROUPS = {"one": ["float64 by default"], "all": list(SETTINGS)}  # of two default dtypes the last one holds


@pytest.mark.parametrize("names", GROUPS.values(), ids=GROUPS)
def test_settings_of_other_packs_change_nothing(networks, usual, user_folder, names):
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(changed(name))
        found = run(networks, user_folder)
    assert differences(found, usual) == []


def test_another_default_device_changes_no_picture(networks, usual, user_folder):
    """The meta device holds no values: whatever lands there by default is lost. ComfyUI samples nothing with it."""
    torch.set_default_device("meta")
    try:
        found, _ = prepare(networks[1])
    finally:
        torch.set_default_device(None)
    assert differences(found, {name: usual[name] for name in found}) == []


FACTORIES = {"zeros", "ones", "empty", "full", "arange", "linspace", "eye", "tensor", "as_tensor", "rand", "randn"}


def without_kind(call):
    """Return whether a call makes a tensor of the default dtype or on the default device."""
    name = ast.unparse(call.func)
    words = {word.arg for word in call.keywords}
    makes = name.startswith("torch.") and name.removeprefix("torch.") in FACTORIES
    return makes and None not in words and not {"dtype", "device"} <= words


@pytest.mark.parametrize("room", ["nodes", "steadydancer_core", "miniature"])
def test_every_new_tensor_names_its_dtype_and_device(room):
    assert without_kind(ast.parse("torch.zeros(3, device=x)").body[0].value)
    assert not without_kind(ast.parse("torch.zeros(3, **kind)").body[0].value)
    files = sorted((PACK / room).rglob("*.py"))
    calls = [(f.name, n) for f in files for n in ast.walk(ast.parse(f.read_text("utf-8"))) if isinstance(n, ast.Call)]
    assert calls and [f"{name}:{call.lineno}" for name, call in calls if without_kind(call)] == []
