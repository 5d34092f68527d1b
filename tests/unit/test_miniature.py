"""The embedded default: ComfyUI takes every file, the numbers are sane, and no file of the user is harmed."""

import io
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import av
import comfy.latent_formats
import comfy.ldm.wan.model
import comfy.ops
import comfy.sd
import folder_paths
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load as load_bytes

from steadydancer_pack import miniature
from steadydancer_pack.miniature import drawing, prompts, sample, skeleton, vae, weights
from steadydancer_pack.nodes.miniature import MakeMiniatureFiles
from steadydancer_pack.steadydancer_core import detection, prompt_embeddings

PACK = Path(__file__).resolve().parents[2]
OWN = ("condition_embedding_", "patch_embedding_fuse.", "patch_embedding_ref_c.")


def test_size_of_the_golden_config():
    shapes = weights.steadydancer_shapes(dim=256, ffn_dim=512, layers=2, text_dim=64)
    assert len(shapes) == 129 and sum(key.startswith(OWN) for key in shapes) == 42
    assert sum(map(math.prod, shapes.values())) == 4_677_776


def test_the_base_is_comfyuis_wan_i2v():
    config = {"dim": 5120, "ffn_dim": 13824, "num_layers": 3, "text_dim": 4096, "num_heads": 40, "freq_dim": 256}
    model = comfy.ldm.wan.model.WanModel(
        model_type="i2v", in_dim=36, out_dim=16, patch_size=(1, 2, 2), device="meta",
        operations=comfy.ops.disable_weight_init, **config,
    )  # fmt: skip
    shapes = weights.steadydancer_shapes(5120, 13824, 3, 4096)
    base = {key: shape for key, shape in shapes.items() if not key.startswith(OWN)}
    assert base == {key: tuple(value.shape) for key, value in model.state_dict().items()}


@pytest.mark.parametrize(
    ("key", "shape", "low", "high"),
    [
        ("blocks.0.self_attn.norm_q.weight", (64,), 0.9, 1.1),
        ("condition_embedding_align.norm1.weight", (1, 64, 1, 1), 0.9, 1.1),
        ("condition_embedding_spatial.bn1.weight", (4,), 0.9, 1.1),
        ("img_emb.proj.0.weight", (64,), 0.9, 1.1),
        ("img_emb.proj.4.bias", (64,), -0.1, 0.1),
        ("condition_embedding_align.norm2.bias", (1, 64, 1, 1), -0.1, 0.1),
        ("head.modulation", (1, 2, 64), -0.1, 0.1),
        ("head.head.bias", (64,), -0.1, 0.1),
        ("img_emb.proj.3.weight", (8, 48), -0.25, 0.25),
    ],
)
def test_made_up_weights_by_kind(key, shape, low, high):
    weight = weights.made_up(key, shape)
    assert weight.dtype == np.float32 and weight.shape == shape
    assert low <= weight.min() < weight.max() <= high
    u = (weight.astype(np.float64) - (low + high) / 2) / ((high - low) / 2)
    np.testing.assert_allclose(u, weights.uniform(key, shape), atol=1e-5)


def test_comfyui_recognises_the_model_file():
    detection.register()
    patcher = comfy.sd.load_diffusion_model_state_dict(load_bytes(weights.model_file()))
    assert type(patcher.model).__name__ == "SteadyDancer"
    model = patcher.model.diffusion_model
    assert (model.dim, model.num_heads, len(model.blocks)) == (128, 1, 2)
    loaded = model.state_dict()["blocks.1.ffn.0.weight"]
    torch.testing.assert_close(
        loaded.float(), torch.from_numpy(weights.made_up("blocks.1.ffn.0.weight", (256, 128))), atol=1e-3, rtol=1e-3
    )


@pytest.fixture(scope="module")
def loaded_vae():
    loaded = comfy.sd.VAE(sd=load_bytes(vae.vae_file()))
    loaded.throw_exception_if_invalid()
    return loaded


@pytest.fixture(scope="module")
def clip():
    """A noisy frame, then grey, as Reconcile Conditions encodes it: [9, 64, 48, 3]."""
    clip = torch.full((9, 64, 48, 3), 0.5)
    clip[0] = torch.rand(64, 48, 3, generator=torch.Generator().manual_seed(0))
    return clip


def test_the_vae_has_exactly_comfyuis_tensors(loaded_vae):
    expected = {key: tuple(value.shape) for key, value in loaded_vae.first_stage_model.state_dict().items()}
    assert vae.vae_shapes() == expected


@torch.inference_mode()
def test_latents_are_sane_and_causal(loaded_vae, clip):
    latent = loaded_vae.encode(clip)
    assert latent.shape == (1, 16, 3, 8, 6) and latent.isfinite().all()
    torch.testing.assert_close(latent[:, :, :1], loaded_vae.encode(clip[:1]), atol=1e-5, rtol=1e-5)
    normalised = comfy.latent_formats.Wan21().process_in(latent)
    assert 0.5 < normalised.std() < 2 and normalised.abs().max() < 12
    assert latent[:, :, 0].std(dim=(2, 3)).mean() > 0.3  # the picture is in it


@torch.inference_mode()
def test_decoded_pictures_follow_the_latent(loaded_vae):
    generator = torch.Generator().manual_seed(0)
    latents = comfy.latent_formats.Wan21().process_out(torch.randn(2, 1, 16, 3, 8, 6, generator=generator))
    first, second = (loaded_vae.decode(latent) for latent in latents)
    assert first.shape == (1, 9, 64, 48, 3) and first.isfinite().all()
    assert ((first <= 0) | (first >= 1)).float().mean() < 0.05
    assert first.std() > 0.1 and (first - second).abs().mean() > 0.05


@pytest.mark.parametrize("name", ["positive", "negative"])
def test_the_prompts_are_prompt_embeddings(tmp_path, name):
    ours, theirs = tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors"
    ours.write_bytes(prompts.prompt_file(name))
    conditioning = prompt_embeddings.load(ours)
    ((cond, options),) = conditioning
    assert cond.shape == (1, 512, 64) and options == {}
    assert cond[0, :7].abs().amax(dim=1).min() > 0 and not cond[0, 7:].any()
    prompt_embeddings.save(conditioning, theirs, f"made-up {name} prompt")
    assert header(ours.read_bytes()) == header(theirs.read_bytes())


def header(data):
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end])


def test_prompts_differ():
    assert prompts.prompt_file("positive") != prompts.prompt_file("negative")


def decode(data):
    """Return (frames [F, H, W, 3], frames per second, sound samples, peak of the sound)."""
    with av.open(io.BytesIO(data)) as container:
        fps = container.streams.video[0].average_rate
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    with av.open(io.BytesIO(data)) as container:
        blocks = [frame.to_ndarray() for frame in container.decode(audio=0)] if container.streams.audio else []
    sound = np.concatenate(blocks, axis=1) if blocks else np.zeros((1, 0))
    return frames, fps, sound.shape[1], np.abs(sound).max(initial=0)


def test_the_pose_clip():
    frames, fps, samples, peak = decode(sample.pose_file())
    assert frames.shape == (33, 512, 288, 3) and fps == 16
    assert abs(samples - 33 / 16 * 48000) <= 1024 and 0.1 < peak < 1
    drawn = drawing.draw_pose(skeleton.pose_at(0))
    assert np.abs(frames[0].astype(int) - drawn).mean() < 2
    assert np.abs(frames[8].astype(int) - frames[0]).mean() > 2


def test_the_negative_pose_clip_is_silent_and_other():
    frames, fps, samples, _ = decode(sample.negative_pose_file())
    assert frames.shape == (33, 512, 288, 3) and fps == 16 and samples == 0
    assert np.abs(frames[0].astype(int) - drawing.draw_pose(skeleton.pose_at(0))).mean() > 1


def test_the_driving_clip_shows_somebody_else_for_as_long():
    frames, fps, samples, _ = decode(sample.driving_file())
    assert frames.shape == (62, 384, 288, 3) and fps == 30
    assert abs(samples - 62 / 30 * 48000) <= 1024
    assert np.abs(frames[15].astype(int) - frames[0]).mean() > 2


def test_the_photo_shows_the_standing_pose():
    photo = Image.open(io.BytesIO(sample.photo_file()))
    assert photo.size == (288, 512) and photo.mode == "RGB"
    x, y = (skeleton.pose_at(0)[skeleton.R_ELBOW] * 512).round().astype(int)
    assert photo.getpixel((int(x), int(y))) == tuple(bytes.fromhex(drawing.PHOTO.sleeve[1:]))


def test_the_dance_begins_at_the_photo_and_stays_in_the_frame():
    poses = np.array(skeleton.dance(33, 16))
    np.testing.assert_allclose(poses[0], skeleton.pose_at(0))
    np.testing.assert_allclose(poses[16], poses[0], atol=1e-9)
    width = drawing.SIZE[0] / drawing.SIZE[1]
    assert poses.min() > 0 and poses[..., 0].max() < width and poses[..., 1].max() < 1


def test_augmented_poses_are_scaled_about_the_neck():
    poses = skeleton.dance(33, 16)
    wide, tall = [], []
    for pose, other in zip(poses, skeleton.augmented(poses, seed=1), strict=True):
        np.testing.assert_allclose(other[skeleton.NECK], pose[skeleton.NECK])
        x, y = (other - other[skeleton.NECK])[skeleton.R_HIP] / (pose - pose[skeleton.NECK])[skeleton.R_HIP]
        tall.append(y)
        wide.append(x / y)
    assert 0.7 <= min(tall) < 0.8 and 1.2 < max(tall) <= 1.3
    assert 0.6 <= min(wide) < 0.75 and 1.25 < max(wide) <= 1.4


def test_the_palette_is_steadydancers():
    picture = drawing.draw_pose(skeleton.pose_at(0)).astype(int)
    neck, nose, shoulder = (skeleton.pose_at(0)[j] * 512 for j in (skeleton.NECK, skeleton.NOSE, skeleton.R_SHOULDER))
    red_stick, blue_stick = (picture[tuple(((neck + end) / 2).round().astype(int)[::-1])] for end in (nose, shoulder))
    assert red_stick[0] > 100 > 30 > red_stick[2] and blue_stick[2] > 100 > 30 > blue_stick[0]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    base = tmp_path_factory.mktemp("written")
    return base, miniature.write_all(base / "models", base / "input")


def contents(base):
    return {str(p.relative_to(base)): (p.read_bytes(), p.stat().st_mtime_ns) for p in base.rglob("*") if p.is_file()}


def test_all_files_are_written_and_nothing_else(written):
    base, paths = written
    found = sorted(path.relative_to(base).as_posix() for path in paths)
    assert found == [
        "input/steadydancer_sample.png",
        "input/steadydancer_sample_dance.mp4",
        "input/steadydancer_sample_pose.mp4",
        "input/steadydancer_sample_pose_negative.mp4",
        "models/diffusion_models/steadydancer_miniature.safetensors",
        "models/prompt_embeddings/steadydancer_miniature_negative.safetensors",
        "models/prompt_embeddings/steadydancer_miniature_positive.safetensors",
        "models/vae/steadydancer_miniature_vae.safetensors",
    ]
    assert sorted(Path(name).as_posix() for name in contents(base)) == found
    assert sum(path.stat().st_size for path in paths) < 10_000_000


def test_a_second_run_touches_nothing(written):
    base, paths = written
    before = contents(base)
    assert miniature.write_all(base / "models", base / "input") == paths
    assert contents(base) == before


def test_a_file_of_the_user_is_replaced_only_when_asked(written, tmp_path):
    (tmp_path / "input").mkdir()
    photo = tmp_path / "input" / "steadydancer_sample.png"
    photo.write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"steadydancer_sample\.png\. Nothing was written"):
        miniature.write_all(tmp_path / "models", tmp_path / "input")
    assert list(contents(tmp_path)) == [os.path.join("input", "steadydancer_sample.png")]
    miniature.write_all(tmp_path / "models", tmp_path / "input", overwrite=True)
    base = written[0]
    assert contents(tmp_path).keys() == contents(base).keys()
    assert photo.read_bytes() == (base / "input" / photo.name).read_bytes()


def test_a_clip_of_another_encoder_is_our_own(written, tmp_path, monkeypatch):
    shutil.copytree(written[0], tmp_path, dirs_exist_ok=True)
    clip = tmp_path / "input" / "steadydancer_sample_pose.mp4"
    before = contents(tmp_path)
    monkeypatch.setattr(sample, "X264_OPTIONS", {"crf": "14", "preset": "veryfast"})
    assert sample.pose_file() != clip.read_bytes()
    miniature.write_all(tmp_path / "models", tmp_path / "input")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("spoil", [lambda data: data[: len(data) // 2], lambda data: sample.negative_pose_file()])
def test_another_clip_under_our_name_is_not(spoil, written, tmp_path):
    shutil.copytree(written[0], tmp_path, dirs_exist_ok=True)
    clip = tmp_path / "input" / "steadydancer_sample_pose.mp4"
    clip.write_bytes(spoil(clip.read_bytes()))
    with pytest.raises(ValueError, match=r"steadydancer_sample_pose\.mp4\. Nothing was written"):
        miniature.write_all(tmp_path / "models", tmp_path / "input")


def test_a_failed_write_leaves_no_part(tmp_path, monkeypatch):
    monkeypatch.setattr(miniature, "FILES", [file for file in miniature.FILES if file.name.endswith(".png")])
    (tmp_path / "input").write_text("a file where a folder is needed")
    with pytest.raises(ValueError, match="could not be written"):
        miniature.write_files({"input": tmp_path / "input"})
    assert os.listdir(tmp_path) == ["input"]


def test_the_command_needs_no_comfyui(written, tmp_path):
    code = (
        "import sys; from miniature.__main__ import main; status = main(); "
        "sys.exit(status or any(name in sys.modules for name in ('comfy', 'comfy_api', 'folder_paths')))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "models"), str(tmp_path / "input")],
        cwd=PACK, env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert len(run.stdout.splitlines()) == len(miniature.FILES)
    assert "steadydancer_miniature_vae.safetensors (" in run.stdout
    found, want = ({name: data for name, (data, _) in contents(base).items()} for base in (tmp_path, written[0]))
    assert found.keys() == want.keys()
    others = [name for name in want if found[name] != want[name]]  # the encoder's bytes may differ, its pictures not
    assert all(name.endswith(".mp4") and sample.same_clip(found[name], want[name]) for name in others), others


def test_the_node_writes_where_the_loaders_look(tmp_path, monkeypatch):
    own = {key: ([str(tmp_path / "models" / key)], set()) for key in ("vae", "prompt_embeddings")}
    own["diffusion_models"] = ([str(tmp_path / "models" / name) for name in ("unet", "diffusion_models")], set())
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", own)
    monkeypatch.setattr(folder_paths, "input_directory", str(tmp_path / "input"))
    before = MakeMiniatureFiles.fingerprint_inputs(overwrite=False)
    (text,) = MakeMiniatureFiles.execute(overwrite=False).ui.as_dict()["text"]
    model = tmp_path / "models" / "diffusion_models" / "steadydancer_miniature.safetensors"
    assert model.is_file() and str(model) in text and "Press R" in text
    assert len(contents(tmp_path)) == len(miniature.FILES)
    assert MakeMiniatureFiles.fingerprint_inputs(overwrite=False) != before
