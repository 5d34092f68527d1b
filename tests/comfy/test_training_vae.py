"""The miniature VAE is trained by a faster walk through the stock class, so it is held to the stock numbers."""

import json
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import comfy.sd
import numpy as np
import pytest
import torch
from comfy.latent_formats import Wan21
from safetensors.torch import load, load_file

from steadydancer_pack.training import vae as vae_training
from steadydancer_pack.training import vae_whole
from steadydancer_pack.training.vae import (
    CROPS,
    HELD,
    WHOLE,
    VaeModule,
    VaeTask,
    default_plan,
    fresh_vae,
    losses,
    pixel_weights,
    train_vae,
)
from steadydancer_pack.training.vae_file import (
    CHARACTER_SHARE,
    as_video,
    folded,
    latent_statistics,
    photo_then_gray,
    psnr,
    reconstruction,
    vae_file,
)

WIDTH, SIZE, FRAMES = 4, 16, 33


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Clips and skeletons of blocks of colour."""
    folder, random = tmp_path_factory.mktemp("clips"), np.random.default_rng(0)
    for name in ("clips", "poses"):
        blocks = random.integers(0, 256, (HELD + 2, FRAMES, 2, 2, 3), np.uint8)
        np.save(folder / f"{name}.npy", blocks.repeat(SIZE // 2, 2).repeat(SIZE // 2, 3))
    return folder / "clips.npy", folder / "poses.npy"


@pytest.fixture
def vae():
    return fresh_vae(WIDTH).requires_grad_(False)


def video(frames=9, size=SIZE):
    return torch.rand(2, 3, frames, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("frames", [1, 5, 9, 17])
def test_the_walk_over_a_whole_clip_gives_the_stock_numbers(vae, frames):
    latent = vae.encode(video(frames))
    assert latent.shape == (2, 16, (frames + 3) // 4, 2, 2)
    torch.testing.assert_close(vae_whole.encode(vae, video(frames)), latent, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(vae_whole.decode(vae, latent), vae.decode(latent), atol=1e-4, rtol=1e-4)


def test_a_gradient_reaches_every_parameter_but_the_unused_half_of_the_latent():
    module = VaeModule(fresh_vae(WIDTH))
    module({"video": video(), "noise": torch.zeros(2, 16, 3, 2, 2)})["loss"].backward()
    assert [name for name, p in module.named_parameters() if p.grad is None or not p.grad.any()] == []
    mu, log_var = module.vae.conv1.weight.grad.split(16)
    assert mu.any() and not log_var.any()


def test_fresh_weights_follow_from_the_seed():
    one, same, other = (fresh_vae(WIDTH, seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["conv1.weight"], other["conv1.weight"])


def test_the_loss_of_a_known_error():
    truth = torch.zeros(1, 3, 2, 4, 4)
    back = truth.clone()
    back[:, :, 0] = 0.5
    found = losses(back, truth, torch.full((1, 16, 1, 1, 1), 2.0))
    assert found["squared"].item() == pytest.approx(0.25 * 3 / 4)  # weights 3 and 1, their mean made 1
    assert found["edges"].item() == 0
    assert found["latent square"].item() == 4


def test_a_pixel_that_moves_counts_up_to_seven_times_as_much():
    video = torch.zeros(1, 3, 4, 8, 8)
    video[:, 1, 3, 4, 4] = 1.0  # its mean over time is 0.25
    weight = pixel_weights(video)[0, 0]
    still = weight[1, 0, 0]
    assert weight.mean().item() == pytest.approx(1)
    assert (weight[3, 4, 4] / still).item() == (weight[3, 3, 5] / still).item() == pytest.approx(1 + 6)
    assert (weight[1, 4, 4] / still).item() == pytest.approx(1 + 6 * 0.25 / 0.5)
    assert weight[3, 4, 6] == still
    assert (weight[0, 0, 0] / still).item() == pytest.approx(3)
    assert (weight[0, 4, 4] / still).item() == pytest.approx(3 * 4)


def test_late_steps_take_whole_pictures_of_long_clips(files):
    task = VaeTask(*files, default_plan(1000), WIDTH)
    task.clips = task.poses = np.zeros((HELD + 2, FRAMES, 128, 128, 3), np.uint8)
    shapes = {step: [tuple(batch(task, step, seed).shape) for seed in range(12)] for step in (0, 100, 900)}
    assert {shape[2] for shape in shapes[0]} == {1}
    assert max(shape[2] for shape in shapes[100]) == 9
    assert sum(shape[2:] >= (17, 128, 128) for shape in shapes[900]) > 6
    whole = sum(crop.weight for crop in CROPS[0.35] if crop.frames >= 17 and crop.size == WHOLE)
    assert (1 - max(CROPS)) * whole > 0.5


def batch(task, step, seed):
    return task.batch(step, torch.Generator().manual_seed(seed))["video"]


def test_a_batch_follows_from_its_generator_alone(files):
    task = VaeTask(*files, default_plan(), WIDTH)
    one, same, other = (task.batch(0, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one["video"], same["video"]) and torch.equal(one["noise"], same["noise"])
    assert not torch.equal(one["noise"].flatten()[:16], other["noise"].flatten()[:16])


def test_a_batch_never_holds_a_held_out_clip(files, tmp_path):
    clips = np.zeros_like(np.load(files[0]))
    clips[-HELD:] = 255
    np.save(tmp_path / "a.npy", clips)
    task = VaeTask(tmp_path / "a.npy", tmp_path / "a.npy", default_plan(), WIDTH)
    for seed in range(8):
        assert task.batch(seed, torch.Generator().manual_seed(seed))["video"].max() <= 0  # black, or grey


def test_wrong_clips_are_refused(files, tmp_path):
    np.save(tmp_path / "short.npy", np.zeros((HELD + 1, 5, 16, 16, 3), np.uint8))
    with pytest.raises(ValueError, match="F of 33 or more"):
        VaeTask(tmp_path / "short.npy", tmp_path / "short.npy", default_plan(), WIDTH)


def test_folding_moves_the_latents_and_not_the_pictures(vae, files):
    clips, poses = (np.load(path)[:2, :9] for path in files)
    state = vae.state_dict()
    new = folded(state, *latent_statistics(state, clips, poses))
    before = vae.decode(vae.encode(video()))
    vae.load_state_dict(new)
    torch.testing.assert_close(vae.decode(vae.encode(video())), before, atol=1e-4, rtol=1e-4)
    fixed = Wan21().latents_mean.flatten(), Wan21().latents_std.flatten()
    torch.testing.assert_close(latent_statistics(new, clips, poses), fixed, atol=1e-3, rtol=1e-3)


def test_statistics_weigh_characters_and_skeletons(vae, files):
    clips, poses = (np.load(path)[:2, :5] for path in files)
    characters, skeletons = (vae.encode(as_video(c)).mean((0, 2, 3, 4)) for c in (clips, poses))
    mean, _ = latent_statistics(vae.state_dict(), clips, poses)
    mixed = CHARACTER_SHARE * characters + (1 - CHARACTER_SHARE) * skeletons
    torch.testing.assert_close(mean, mixed, atol=1e-5, rtol=1e-4)


def test_the_stock_loader_runs_the_file(vae):
    vae.load_state_dict(load(vae_file(vae.state_dict())))  # rounded to float16
    stock = comfy.sd.VAE(sd=load(vae_file(vae.state_dict())))
    frames = video()[:1]
    latent, wanted = stock.encode((frames[0].movedim(0, -1) + 1) / 2), vae.encode(frames)
    torch.testing.assert_close(latent, wanted, atol=1e-4, rtol=1e-3)
    expected = (vae.decode(wanted)[0].movedim(0, -1).clamp(-1, 1) + 1) / 2
    torch.testing.assert_close(stock.decode(latent)[0], expected, atol=1e-4, rtol=1e-3)


def test_the_file_is_small_enough_and_a_diverged_vae_is_not_written(vae):
    assert len(vae_file(fresh_vae().state_dict())) < 8_000_000
    state = vae.state_dict()
    state["conv2.bias"][0] = 1e6
    with pytest.raises(ValueError, match="such as conv2.bias"):
        vae_file(state)


def test_a_few_steps_make_a_file_and_metrics(files, tmp_path, monkeypatch):
    monkeypatch.setattr(vae_training, "reconstruction", partial(reconstruction, n=2))
    plan = replace(default_plan(2), precision="no", warmup=1)
    path = train_vae(tmp_path / "run", *files, plan, WIDTH)
    state = load_file(path)
    assert {tensor.dtype for tensor in state.values()} == {torch.float16}
    written = json.loads((tmp_path / "run" / "metrics.json").read_text())
    again = reconstruction(state, *files, n=2)
    assert written["metrics"] == pytest.approx(again)
    assert written["width"] == WIDTH and written["plan"]["steps"] == 2


def test_of_several_processes_the_first_writes_alone(files, tmp_path, monkeypatch):
    waited = []
    second = SimpleNamespace(is_main_process=False, wait_for_everyone=lambda: waited.append(True))
    monkeypatch.setattr(vae_training, "processes", lambda: second)
    assert not train_vae(tmp_path / "run", *files, replace(default_plan(1), precision="no"), WIDTH).exists()
    assert not (tmp_path / "run" / "metrics.json").exists() and waited == [True]


def test_psnr_and_the_grey_after_the_photo():
    truth = torch.zeros(1, 3, 2, 2, 2)
    assert psnr(truth + 0.2, truth) == pytest.approx(20)  # 0.1 of the range
    grey = photo_then_gray(truth + 1)
    assert grey[:, :, 0].eq(1).all() and grey[:, :, 1:].eq(0).all()
