"""A whole Wan 2.1 I2V through the program: videos to a store, a store through the three stages, results that load."""

import json
import logging
import shutil
import zlib
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import comfy.clip_vision
import comfy.lora
import comfy.model_management
import comfy.sd
import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

from steadydancer_pack.dwpose.detect.detector import Region
from steadydancer_pack.media.frames import clip_pixels
from steadydancer_pack.miniature import shipped
from steadydancer_pack.miniature.weights import made_up, steadydancer_shapes
from steadydancer_pack.steadydancer_core.weights import detection
from steadydancer_pack.steadydancer_core.weights.checkpoint import pose_tensor_names
from steadydancer_pack.steadydancer_core.weights.clip_vision import serves_clip_vision
from steadydancer_pack.steadydancer_core.weights.loading import load_model
from steadydancer_pack.tests.two_processes import run_two
from steadydancer_pack.training import checkpoints, full
from steadydancer_pack.training.buckets import open_stores
from steadydancer_pack.training.clip_parts import ALONE, Part
from steadydancer_pack.training.clip_rows import ClipRows
from steadydancer_pack.training.command import main
from steadydancer_pack.training.encoders import (
    Encoders,
    load_encoder,
    load_text,
    load_vision,
    miniature_text,
    no_vision,
)
from steadydancer_pack.training.full import FullFiles, run_full
from steadydancer_pack.training.full_result import LORA
from steadydancer_pack.training.latents import ARRAYS, CLIP, FEATURES, PHOTO, TEXT
from steadydancer_pack.training.lora import Adapter
from steadydancer_pack.training.lora_run import LoRASettings, run_lora
from steadydancer_pack.training.memory_plan import host, needs, tokens
from steadydancer_pack.training.memory_table import table
from steadydancer_pack.training.network import POSE_PARTS, Size, build
from steadydancer_pack.training.pipeline import Work
from steadydancer_pack.training.real_clips import SHARED, ClipSettings, prepare_clips, prompt_of, read_frames
from steadydancer_pack.training.stages import STAGES, columns
from steadydancer_pack.training.wan_file import WanFile
from steadydancer_pack.training.world.clips import make_clip

FRAMES, SIDE, ROWS, WIDTH = 5, 64, 12, 16
TINY = {"dim": 128, "ffn_dim": 192, "layers": 2, "text_dim": WIDTH}
SETTINGS = ClipSettings(FRAMES, (SIDE, SIDE), prompt="somebody dances", negative="dull")
PREFIX = "model.diffusion_model."
HALF_STEP, BRAIN_STEP = 2**-11, 2**-8  # relative rounding of float16 and bfloat16


class Standing:
    """A detector that always sees the same person."""

    name, notes, fingerprint = "Standing", [], "standing"

    def __init__(self):
        self.points = make_clip(0, 1, SIDE).poses.tracks[0].points[0] * SIDE

    def find(self, frame, *_):
        return [Region(SIDE / 2, SIDE / 2, SIDE, SIDE)]

    def estimate(self, frame, regions):
        return np.stack([self.points] * len(regions)), np.ones((len(regions), len(self.points)))

    def follow(self, points, scores):
        return Region(SIDE / 2, SIDE / 2, SIDE, SIDE)


class Killed(Exception):
    """Stands for the end of the process."""


def made_up_encoders(vae, calls=10**6):
    """Return encoders with a real VAE that dies after `calls` calls, and words and sight of made-up numbers."""
    counts = Counter()

    def load_latent():
        encode = load_encoder(vae)

        def latent(frames):
            counts["latent"] += 1
            if counts["latent"] > calls:
                raise Killed
            return encode(frames)

        return latent

    def see(picture):
        return picture.mean() + torch.from_numpy(made_up("sight", (1, 257, 1280)))

    def read(prompt):
        counts["read"] += 1
        rows = torch.zeros(1, ROWS, WIDTH)
        for row, word in zip(rows[0], prompt.split(), strict=False):
            row += zlib.crc32(word.encode()) % 7 - 3
        return rows

    return Encoders(load_latent, lambda: see, lambda: read), counts


def write_video(path, frames):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264rgb", rate=Fraction(16), options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "rgb24"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with videos, of which two are usable, a VAE and a small Wan 2.1 I2V."""
    folder = tmp_path_factory.mktemp("whole")
    videos = folder / "videos"
    videos.mkdir()
    for seed, (name, frames) in enumerate({"one": FRAMES, "two": FRAMES - 1, "short": 2}.items()):
        write_video(videos / f"{name}.mp4", make_clip(seed, frames, SIDE).frames)
    (videos / "two.txt").write_text("she  waves\nslowly", "utf-8")
    (videos / "broken.mp4").write_bytes(b"no video")
    (folder / "vae.safetensors").write_bytes(shipped("steadydancer_miniature_vae.safetensors").read_bytes())
    save_file(base_weights(), folder / "base.safetensors")
    return folder


def base_weights():
    shapes = {name: shape for name, shape in steadydancer_shapes(**TINY).items() if name not in pose_tensor_names()}
    return {f"{PREFIX}{name}": torch.from_numpy(made_up(name, shape)).bfloat16() for name, shape in shapes.items()}


def prepare(place, folder, calls=10**6, settings=SETTINGS):
    """Prepare the clips of `place` in `folder`; return the store and how often the encoders were called."""
    encoders, counts = made_up_encoders(place / "vae.safetensors", calls)
    (store,) = prepare_clips(folder, place / "videos", encoders, Standing(), settings)
    return store, counts


@pytest.fixture(scope="module")
def store(place):
    return prepare(place, place / "clips")[0]


@pytest.fixture(scope="module")
def files(place, store):
    return FullFiles(place / "base.safetensors", place / "clips", place / "vae.safetensors")


def test_the_store_holds_the_clips_that_can_be_used(place, store):
    assert store.count == 2 and store.latent_frames == 2 and store.features == FEATURES
    state = json.loads((place / "clips" / "clips.json").read_text("utf-8"))
    assert state["clips"] == ["one.mp4", "two.mp4"]
    assert "too short: 2 frames" in state["left_out"]["short.mp4"]
    assert "cannot be read" in state["left_out"]["broken.mp4"]
    assert sorted(path.suffix for path in (place / "clips").iterdir()) == [".json", *[".npy"] * 7, ".safetensors"]
    shared = {"negative_text": (ROWS, WIDTH), "blank_pose": (1, 16, 2, 8, 8), "blank_features": (1, 257, 1280)}
    assert {name: tuple(t.shape) for name, t in load_file(place / "clips" / SHARED).items()} == shared


def test_the_photo_is_the_first_frame_and_the_text_is_the_files(store):
    rows = np.arange(2)
    assert torch.equal(store.take(CLIP, rows)[:, :, 0], store.take(PHOTO, rows)[:, :, 0])
    assert not torch.equal(store.take(CLIP, rows)[:, :, 1], store.take(PHOTO, rows)[:, :, 1])
    text = store.take(TEXT, rows)
    assert text.shape == (2, ROWS, WIDTH)
    words = ("she", "waves", "slowly")
    assert text[1, :4, 0].tolist() == [zlib.crc32(word.encode()) % 7 - 3 for word in words] + [0]


def test_a_missing_frame_is_the_last_one_again(place):
    frames = read_frames(place / "videos" / "two.mp4", (SIDE, SIDE), FRAMES)
    assert len(frames) == FRAMES
    assert np.array_equal(frames[-1], frames[-2]) and not np.array_equal(frames[-2], frames[-3])
    assert read_frames(place / "videos" / "two.mp4", (32, 48), FRAMES).shape == (FRAMES, 48, 32, 3)


@pytest.mark.parametrize("calls", [0, 3, 7])
def test_a_killed_preparation_goes_on(place, store, tmp_path, calls):
    with pytest.raises(Killed):
        prepare(place, tmp_path, calls)
    _, counts = prepare(place, tmp_path)
    done = calls and 1 + (calls - 1) // 6 * 6  # the blank pose, then six videos a clip
    assert counts == {"latent": 13 - done}  # and no prompt is read again
    for name in ARRAYS + FEATURES:
        assert (tmp_path / f"{name}.npy").read_bytes() == (place / "clips" / f"{name}.npy").read_bytes(), name


def test_a_longer_video_gives_a_clip_of_each_of_its_windows(place, tmp_path):
    (tmp_path / "videos").mkdir()
    long, missing = make_clip(7, 3 * FRAMES - 1, SIDE).frames, make_clip(8, 2, SIDE).frames
    write_video(tmp_path / "videos" / "long.mp4", long)
    write_video(tmp_path / "videos" / "short.mp4", missing)
    shutil.copy(place / "vae.safetensors", tmp_path)
    store, _ = prepare(tmp_path, tmp_path / "clips", settings=replace(SETTINGS, windows=True))
    state = json.loads((tmp_path / "clips" / "clips.json").read_text("utf-8"))
    assert state["clips"] == ["long.mp4", "long.mp4#5", "long.mp4#10"] and list(state["left_out"]) == ["short.mp4"]
    assert store.count == 3
    for start in (0, FRAMES, 2 * FRAMES):
        found = read_frames(tmp_path / "videos" / "long.mp4", (SIDE, SIDE), FRAMES, start)
        assert np.array_equal(found[:4], long[start : start + 4])
    with pytest.raises(ValueError, match="begun with {'clips': 4}, now it is {'clips': 2}"):
        prepare(tmp_path, tmp_path / "clips")


BOTH = replace(SETTINGS, size=None, sizes=((SIDE, SIDE), (SIDE, 48)))


@pytest.fixture(scope="module")
def two_sizes(place):
    """A folder with a square video, two wide ones and one that cannot be read, and their store of two sizes."""
    folder = place / "sizes"
    (folder / "videos").mkdir(parents=True)
    shutil.copy(place / "vae.safetensors", folder)
    write_video(folder / "videos" / "square.mp4", make_clip(3, FRAMES, SIDE).frames)
    for name, seed in (("wide", 4), ("wider", 5)):
        write_video(folder / "videos" / f"{name}.mp4", make_clip(seed, FRAMES, SIDE).frames[:, 8:56])
    (folder / "videos" / "broken.mp4").write_bytes(b"no video")
    prepare_all(folder, folder / "clips", BOTH)
    return folder


def prepare_all(place, folder, settings=SETTINGS, part=ALONE, calls=10**6):
    """Prepare the clips of `place` in `folder`; return the stores."""
    encoders, _ = made_up_encoders(place / "vae.safetensors", calls)
    return prepare_clips(folder, place / "videos", encoders, Standing(), settings, part)


def assert_same_stores(mine, theirs):
    """Assert that the arrays of two folders and of those in them are equal byte for byte."""
    names = sorted(path.relative_to(theirs) for path in theirs.rglob("*.npy"))
    assert names == sorted(path.relative_to(mine) for path in mine.rglob("*.npy"))
    assert [name for name in names if (mine / name).read_bytes() != (theirs / name).read_bytes()] == []


def assert_same_tensors(mine, theirs):
    mine, theirs = load_file(mine), load_file(theirs)
    assert mine.keys() == theirs.keys() and [name for name in mine if not torch.equal(mine[name], theirs[name])] == []


def test_each_video_gets_the_nearest_of_several_sizes(two_sizes, tmp_path):
    stores = open_stores(two_sizes / "clips")
    assert [store.folder.name for store in stores] == ["64x64", "64x48"]
    assert [(store.count, store.shape) for store in stores] == [(1, (16, 2, 8, 8)), (2, (16, 2, 6, 8))]
    state = json.loads((two_sizes / "clips" / "64x64" / "clips.json").read_text("utf-8"))
    assert state["clips"] == ["square.mp4"] and "cannot be read" in state["left_out"]["broken.mp4"]
    shutil.copytree(two_sizes, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("clips", "wide*"))
    prepare_all(tmp_path, tmp_path / "clips")
    assert_same_stores(two_sizes / "clips" / "64x64", tmp_path / "clips")


def test_other_sizes_do_not_go_on(two_sizes, place, store):
    other = replace(BOTH, sizes=((SIDE, 48), (SIDE, 32)))
    for folder, settings, words in (
        (two_sizes, other, r"begun with \['64x64', '64x48'\], now it is \['64x48', '64x32'\]"),
        (two_sizes, SETTINGS, r"begun with \['64x64', '64x48'\], now it is \['64x64'\]"),
        (place, BOTH, r"begun with one size, now it is \['64x64', '64x48'\]"),
    ):
        with pytest.raises(ValueError, match=words):
            prepare_all(folder, folder / "clips", settings)
    with pytest.raises(ValueError, match="A size is named twice"):
        replace(BOTH, sizes=((64, 64), (64, 64)))
    with pytest.raises(ValueError, match="The size is 64x50"):
        replace(BOTH, sizes=((64, 64), (64, 50)))


def test_sizes_without_a_clip_have_no_store_and_none_says_why(two_sizes, tmp_path):
    (tmp_path / "videos").mkdir()
    shutil.copy(two_sizes / "videos" / "broken.mp4", tmp_path / "videos")
    shutil.copy(two_sizes / "vae.safetensors", tmp_path)
    with pytest.raises(ValueError, match="None of the videos can be used:\n.*cannot be read"):
        prepare_all(tmp_path, tmp_path / "clips", BOTH)


def test_a_lora_trains_on_batches_of_one_size_and_goes_on_to_the_same_bits(two_sizes, place, store, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "true")
        patch.setattr(comfy.model_management, "in_training", False)
        base = tmp_path / "dancer.safetensors"
        weights = {name: torch.from_numpy(made_up(name, shape)) for name, shape in steadydancer_shapes(**TINY).items()}
        save_file({name: weight.half() for name, weight in weights.items()}, base)
        files = FullFiles(base, two_sizes / "clips", held=place / "clips")
        for name, lengths in (("whole", (4,)), ("resumed", (2, 4))):
            for steps in lengths:
                (tmp_path / name / LORA).unlink(missing_ok=True)
                run_lora(Work(tmp_path), files, LoRASettings(steps, 2, warmup=0), name)
    assert_same_tensors(tmp_path / "resumed" / LORA, tmp_path / "whole" / LORA)
    begun = checkpoints.load(tmp_path / "whole").facts["start"]["clips"]
    assert begun == "1 of [16, 2, 8, 8] + 2 of [16, 2, 6, 8]"
    with pytest.raises(ValueError, match=r"are \[16, 2, 6, 8\], those to train on \[16, 2, 8, 8\]. Prepare both"):
        full.held_out(two_sizes / "clips", [store])


HALVES = [Part(index, 2) for index in range(2)]  # the first has no square clip that can be used


def test_what_two_processes_encode_is_joined_to_the_store_of_one(two_sizes, tmp_path, monkeypatch):
    with pytest.raises(Killed):
        prepare_all(two_sizes, tmp_path, BOTH, HALVES[1], calls=7)
    assert prepare_all(two_sizes, tmp_path, BOTH, HALVES[1]) == []
    with pytest.raises(ValueError, match="were begun by 2 processes, these are 1. Start 2 again"):
        prepare_all(two_sizes, tmp_path, BOTH)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(ClipRows, "add", dying(2))  # its own clip is encoded, the first one is joined
        prepare_all(two_sizes, tmp_path, BOTH, HALVES[0])
    with pytest.raises(ValueError, match="are not all encoded. Run the same `prepare` again"):
        open_stores(tmp_path)
    prepare_all(two_sizes, tmp_path, BOTH, HALVES[0])
    assert_same_stores(tmp_path, two_sizes / "clips")
    assert not list(tmp_path.rglob("encoded-*")) and not (tmp_path / "prompts").exists()
    for size in ("64x64", "64x48"):
        mine, theirs = (folder / size / "clips.json" for folder in (tmp_path, two_sizes / "clips"))
        assert json.loads(mine.read_text("utf-8")) == json.loads(theirs.read_text("utf-8"))


def dying(calls, add=ClipRows.add):
    """Return what adds a row and dies after some calls."""
    counts = Counter()

    def added(*args):
        counts["calls"] += 1
        if counts["calls"] > calls:
            raise Killed
        add(*args)

    return added


def test_other_settings_do_not_go_on(place, store):
    with pytest.raises(ValueError, match="begun with {'size': \\[64, 64\\]}"):
        prepare(place, place / "clips", settings=ClipSettings(FRAMES, (64, 48)))


def test_rows_are_cut_to_those_that_are_there_and_none_says_why(tmp_path):
    rows = ClipRows(tmp_path, 12000, {})
    rows.add("a", {"x": np.full((1, 3, 2), 5, np.float16)})
    with pytest.raises(ValueError, match=r"rows of \[3, 2\], this clip's are \[3, 3\]"):
        ClipRows(tmp_path, 12000, {}).add("b", {"x": np.zeros((1, 3, 3), np.float16)})
    rows.finish()
    assert np.load(tmp_path / "x.npy").tolist() == [[[5, 5]] * 3]
    assert ClipRows(tmp_path, 12000, {}).done
    rows = ClipRows(tmp_path / "none", 1, {})
    rows.leave_out("a.mp4", "nobody is there")
    with pytest.raises(ValueError, match="None of the 1 videos can be used:\nnobody is there"):
        rows.finish()


def test_bad_settings_are_refused(tmp_path):
    with pytest.raises(ValueError, match="frames is 80"):
        ClipSettings(80)
    with pytest.raises(ValueError, match="640x100"):
        ClipSettings(size=(640, 100))
    (tmp_path / "a.txt").write_text(" \n", "utf-8")
    assert prompt_of(tmp_path / "a.mp4", "other") == "other"
    (tmp_path / "b.txt").write_bytes("\u4e00\u4e2a\u4eba".encode("gbk"))
    with pytest.raises(ValueError, match=r"b.txt is not UTF-8. Save it again as UTF-8."):
        prompt_of(tmp_path / "b.mp4", "other")
    with pytest.raises(ValueError, match="other formats can run code"):
        load_text(tmp_path / "text.pt")


def test_clip_vision_gets_the_pixels_of_inference(tmp_path, monkeypatch):
    class Vision:
        def encode_image(self, image, crop):
            assert crop is False
            return SimpleNamespace(penultimate_hidden_states=image)

    (tmp_path / "a.safetensors").touch()
    monkeypatch.setattr(comfy.clip_vision, "load", lambda path: Vision())
    picture = torch.rand(1, 40, 30, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(load_vision(tmp_path / "a.safetensors")(picture), clip_pixels(picture))


@pytest.fixture(scope="module")
def stages(place, files):
    """The folder in which all three stages were trained for some steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "true")
        patch.setattr(comfy.model_management, "in_training", False)
        for name, steps in (("stage1", 3), ("stage2", 2), ("stage3", 2)):
            run_full(Work(place), name, files, steps)
    return place


def weights(folder, stage):
    return load_file(folder / stage / "weights.safetensors")


@pytest.mark.parametrize("stage", ["stage1", "stage2", "stage3"])
def test_the_loader_knows_the_result(stages, stage):
    detection.register()
    patcher = load_model(stages / stage / "weights.safetensors")
    assert type(patcher.model).__name__ == "SteadyDancer"
    assert set(weights(stages, stage)) == set(steadydancer_shapes(**TINY))


def test_each_stage_trains_its_part_and_stage_1_starts_its_pose_from_the_base(stages):
    base = {name.removeprefix(PREFIX): weight.half() for name, weight in base_weights().items()}
    one, two, three = (weights(stages, f"stage{number}") for number in (1, 2, 3))
    changed = {name for name in base if not torch.equal(base[name], one[name])}
    layers = {"q", "k", "v", "o", "0", "2"}
    assert changed and all(name.startswith("blocks.") and name.split(".")[-2] in layers for name in changed)
    assert not any(map(serves_clip_vision, changed))
    pose = one["patch_embedding_fuse.weight"][:, :36].float()
    assert (pose - base["patch_embedding.weight"].float()).abs().max() < 1e-3  # 3 steps of 1e-4 from the base
    sight = [name for name in base if serves_clip_vision(name) and name.endswith("weight")]
    assert any(not torch.equal(one[name], two[name]) for name in sight)
    moved = {name for name in two if not torch.equal(two[name], three[name])}
    assert moved and moved <= {name for name in base if name.startswith("blocks.")} - set(sight)


@pytest.mark.parametrize(("before", "after"), [(None, "stage1"), ("stage2", "stage3")])
def test_a_stock_loader_takes_the_lora(stages, before, after):
    detection.register()
    # for stage 1 its result stands for the base, as ComfyUI's plain Wan knows one width of text only
    first = load_model(stages / (before or after) / "weights.safetensors")
    lora = load_file(stages / after / LORA)
    patched, _ = comfy.sd.load_lora_for_models(first, None, lora, 1.0, 0.0)
    assert len(patched.patches) == 10 * TINY["layers"]
    start = base_weights() if before is None else weights(stages, before)
    start = {name.removeprefix(PREFIX): weight for name, weight in start.items()}
    goal, largest = weights(stages, after), 0.0
    for key, patches in patched.patches.items():
        name = key.removeprefix("diffusion_model.")
        made = comfy.lora.calculate_weight(patches, start[name].float(), key)
        change = (goal[name].float() - start[name].float()).abs()
        largest = max(largest, change.max().item())
        down, up = (lora[key.removesuffix("weight") + f"lora_{side}.weight"].float().abs() for side in ("down", "up"))
        slack = HALF_STEP * made.abs() + 1.01 * BRAIN_STEP * (up @ down) + 1e-7
        assert ((made - goal[name].float()).abs() <= slack).all(), name
    assert largest > 1e-6


def test_the_file_tells_its_size_and_wrong_files_are_named(files, tmp_path):
    file = WanFile(files.base)
    assert file.size == Size(**TINY) and not file.pose
    assert file.map("head.modulation").shape == (1, 2, TINY["dim"])
    for stage, words in (("stage2", "Train 'stage1' first"), ("base", "no base to train")):
        with pytest.raises(ValueError, match=words):
            run_full(Work(tmp_path), stage, files)
    with pytest.raises(ValueError, match="is a Wan VAE, not Wan 2.1 image-to-video"):
        WanFile(files.vae)
    coarse = {name: weight.to(torch.float8_e4m3fn) for name, weight in base_weights().items()}
    save_file(coarse, tmp_path / "coarse.safetensors")
    with pytest.raises(ValueError, match="too coarse to train"):
        WanFile(tmp_path / "coarse.safetensors")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"head.modulation": torch.ones(1, 2, 128)}, r"other files. weights: now (\S+ MB), hash \w+, then \1, hash"),
        ({"text_embedding.0.weight": torch.zeros(128, 24)}, "are 16 wide, other.safetensors reads 24"),
    ],
    ids=["other weights", "another text encoder"],
)
def test_a_stage_does_not_go_on_over_another_base(stages, files, tmp_path, monkeypatch, changes, words):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    shutil.copytree(stages / "stage1" / "checkpoints", tmp_path / "stage1" / "checkpoints")
    other = base_weights() | {f"{PREFIX}{name}": weight.bfloat16() for name, weight in changes.items()}
    save_file(other, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=words):
        run_full(Work(tmp_path), "stage1", files._replace(base=tmp_path / "other.safetensors"), 4)


def test_the_plan_counts_what_the_networks_hold():
    size = Size(**TINY)
    network = build(size, True, torch.bfloat16)
    adapter = Adapter(network, 64, 64, 0)
    pose = sum(weight.numel() for name, weight in network.named_parameters() if name.startswith(POSE_PARTS))
    held = sum(weight.numel() * weight.element_size() for weight in network.parameters())
    one, two, three = (needs(size, STAGES[f"stage{n}"], STAGES[f"stage{n}"].full, 100) for n in (1, 2, 3))
    side = sum(weight.numel() for weight in adapter.parameters())
    assert (one.frozen, one.trained, one.moments) == (held - 4 * pose, 4 * (side + pose), 8 * (side + pose))
    assert (three.frozen, three.trained, three.average) == (held, 4 * side, 0)
    assert two.frozen == 0 and two.trained == 4 * sum(weight.numel() for weight in network.parameters())
    assert two.tokens == one.tokens == 2 * 100 * 128 * 2  # blocks, tokens, width, bytes: of one pass at a time
    shared = needs(size, STAGES["stage2"], STAGES["stage2"].full, 100, gpus=8)
    assert (8 * shared.moments, 8 * shared.gradients, shared.tokens) == (two.moments, two.gradients, two.tokens)
    assert tokens() == (21 + 2) * 40 * 40
    block = sum(weight.numel() for weight in network.blocks[0].parameters())
    coarse = replace(STAGES["stage2"].full, plan=replace(STAGES["stage2"].full.plan, bf16_shards=True))
    smaller = needs(size, STAGES["stage2"], coarse, 100, gpus=8)
    assert shared.block - smaller.block == (18 - 10) * block and shared.total - smaller.total == (18 - 10) * block
    streamed = needs(size, STAGES["stage3"], replace(STAGES["stage3"].full, stream=True), 100)
    assert three.frozen - streamed.frozen == 2 * block and streamed.tokens == three.tokens  # of 2 blocks one is there


def test_the_plan_counts_main_memory():
    size, two, three = Size(**TINY), STAGES["stage2"], STAGES["stage3"]
    network = build(size, True, torch.bfloat16)
    blocks = sum(weight.nbytes for weight in network.blocks.parameters())
    side = sum(weight.numel() for weight in Adapter(network, 64, 64, 0).parameters())
    assert host(size, two, two.full, 100, 8) == 12 * sum(weight.numel() for weight in network.parameters())
    assert host(size, three, three.full, 100, 8) == 12 * side
    streamed = replace(three.full, stream=True)
    assert host(size, three, streamed, 100, 8) == 12 * side + 8 * (blocks + 2 * 100 * 128 * 2)


def test_a_run_says_first_what_it_takes_and_warns_where_less_is_free(files, tmp_path, monkeypatch, caplog):
    def nothing(*_):
        raise Killed

    monkeypatch.setattr(full, "prepare_full", nothing)
    for free, warned in ((10**12, False), (10**5, True)):
        monkeypatch.setattr(psutil, "virtual_memory", lambda free=free: SimpleNamespace(available=free))
        caplog.clear()
        with caplog.at_level(logging.INFO), pytest.raises(Killed):
            run_full(Work(tmp_path), "stage1", files)
        assert "The run takes about" in caplog.text and "of main memory; " in caplog.text
        assert ("main memory may be too small" in caplog.text) == warned


def test_the_manual_holds_the_tables():
    manual = (Path(__file__).resolve().parents[2] / "training" / "README.md").read_text("utf-8")
    assert f"<!-- columns -->\n{columns()}\n<!-- /columns -->" in manual
    assert f"<!-- memory -->\n{table()}\n<!-- /memory -->" in manual
    assert "| lora --stream | 1 |" in manual


def test_a_character_becomes_a_lora_that_the_stock_loader_takes(files, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.setattr(comfy.model_management, "in_training", False)
    base = tmp_path / "dancer.safetensors"  # as the miniature is: without CLIP vision
    shapes = {name: shape for name, shape in steadydancer_shapes(**TINY).items() if not serves_clip_vision(name)}
    save_file({name: torch.from_numpy(made_up(name, shape)).half() for name, shape in shapes.items()}, base)
    words = ["lora", str(tmp_path), "--cpu", "--store", str(files.store), "--held", str(files.store)]
    words += ["--steps", "3", "--rank", "4", "--rate", "0.01", "--warmup", "2", "--shift", "3"]
    words += ["--targets", "cross_attn", "ffn"]
    assert main([*words, "--base", str(files.base)]) == 1
    assert "base.safetensors is plain Wan 2.1 image-to-video. A LoRA" in capsys.readouterr().err
    assert main([*words, "--base", str(base)]) == 0
    log = (tmp_path / "lora" / "train.log").read_text("utf-8")
    assert "lr 1.00e-02" in log and "validation_loss" in log

    lora = load_file(tmp_path / "lora" / LORA)
    downs = {name: down for name, down in lora.items() if name.endswith("lora_down.weight")}
    assert {len(down) for down in downs.values()} == {4}
    layers = {name.removeprefix("diffusion_model.").split(".", 2)[2] for name in downs}
    wanted = {f"cross_attn.{part}" for part in "qkvo"} | {"ffn.0", "ffn.2"}
    assert layers == {f"{layer}.lora_down.weight" for layer in wanted} and len(downs) == 6 * TINY["layers"]
    assert all(lora[name.replace("down", "up")].any() for name in downs)
    detection.register()
    patched, _ = comfy.sd.load_lora_for_models(load_model(base), None, lora, 1.0, 0.0)
    assert len(patched.patches) == 6 * TINY["layers"]
    assert main([*words, "--base", str(base), "--stream", "--output", "streamed"]) == 0
    assert_same_tensors(tmp_path / "streamed" / LORA, tmp_path / "lora" / LORA)


@pytest.mark.parametrize("change", [{"rank": 0}, {"rate": 0.0}, {"shift": -1.0}, {"rate": float("nan")}])
def test_settings_of_a_lora_out_of_range_are_refused(change):
    (name,) = change
    with pytest.raises(ValueError, match=f"{name} is .*; it must be above 0"):
        LoRASettings(**change)


def test_clips_for_the_miniature_need_neither_clip_vision_nor_a_text_encoder(place, tmp_path, capsys):
    words = ["prepare", str(tmp_path), "--cpu", "--videos", str(place / "videos"), "--frames", "5", "--size", "64x64"]
    words += ["--vae", str(place / "vae.safetensors")]
    assert main(words) == 1
    assert "Name --clip-vision and --text-encoder; clips for the miniature need --miniature" in capsys.readouterr().err
    encoders = Encoders(lambda: load_encoder(place / "vae.safetensors"), no_vision, miniature_text)
    (store,) = prepare_clips(tmp_path / "clips", place / "videos", encoders, Standing(), SETTINGS)
    assert not store.take(FEATURES[0], np.arange(2)).any() and store.take(TEXT, np.arange(2)).shape == (2, 8, 64)


def test_two_processes_share_stage_2_out_and_write_once(stages, files, tmp_path):
    shutil.copytree(stages / "stage1", tmp_path / "stage1")
    words = f"stage2 {tmp_path} --cpu --full --steps 1 --base {files.base} --store {files.store}"
    status, said = run_two("-m", "training", *words.split())
    assert status == 0, said
    assert "2 processes" in (tmp_path / "stage2" / "train.log").read_text("utf-8")
    before, after = weights(stages, "stage1"), weights(tmp_path, "stage2")
    assert before.keys() == after.keys()
    for name, weight in before.items():
        near = 1.1e-6 + HALF_STEP * weight.float().abs()  # a step of 1e-6 and float16
        assert ((after[name].float() - weight.float()).abs() <= near).all(), name
    assert any(not torch.equal(after[name], weight) for name, weight in before.items())
