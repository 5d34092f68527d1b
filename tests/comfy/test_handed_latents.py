"""Latents handed on from chunk to chunk: known ones are kept, and the decoder meets no border."""

import comfy.sd
import pytest
import torch
from node_helpers import conditioning_set_values
from safetensors.torch import load_file

from steadydancer_pack.miniature import shipped
from steadydancer_pack.steadydancer_core.long_video import handed_latents as handed
from steadydancer_pack.steadydancer_core.sampling import run as sampling
from steadydancer_pack.steadydancer_core.sampling.conditions import zero_clip
from steadydancer_pack.steadydancer_core.sampling.guidance import PoseGuidance, TextGuidance
from steadydancer_pack.steadydancer_core.sampling.presets import Settings

pytestmark = pytest.mark.usefixtures("inference")

ROWS, COLUMNS = 6, 4


@pytest.fixture(scope="module")
def vae():
    return comfy.sd.VAE(sd=load_file(shipped("steadydancer_miniature_vae.safetensors")))


def noise(frames, seed=0):
    return torch.randn(1, 16, frames, ROWS, COLUMNS, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("overlap", "count"), [(5, 1), (9, 2), (17, 4)])
def test_all_known_latents_but_the_first_are_those_of_the_chunk_before(overlap, count):
    before, image = noise(9), noise(9, seed=1)
    left = handed.handed_latents(before, overlap)
    assert torch.equal(left, before[:, :, -(count + handed.HISTORY) :])
    known = handed.with_handed(image, left, overlap)
    assert torch.equal(known[:, :, 1 : count + 1], before[:, :, -count:])
    assert torch.equal(known[:, :, :1], image[:, :, :1])
    assert torch.equal(known[:, :, count + 1 :], image[:, :, count + 1 :])


def test_what_is_handed_on_does_not_hold_the_whole_chunk_in_memory():
    left = handed.handed_latents(noise(81), 5)
    assert left.untyped_storage().nbytes() == left.numel() * left.element_size()


def test_a_short_chunk_hands_on_all_it_has():
    assert handed.handed_latents(noise(3), 5).shape[2] == 3


@pytest.mark.parametrize("overlap", [0, 1])
def test_one_frame_has_no_latent_to_hand_on(overlap):
    with pytest.raises(ValueError, match=f"overlap is {overlap}, .* Set overlap to 5 or more"):
        handed.check_overlap(overlap)
    handed.check_overlap(5)


@pytest.mark.parametrize("solver", ["official unipc", "lcm"])
def test_sampling_keeps_the_known_latents_and_makes_the_rest(model, solver):
    encoded, before = noise(5), noise(9, seed=1)
    mask = torch.ones_like(encoded[:, :1])
    mask[:, :, :3] = 0
    clip = zero_clip()
    values = {
        "concat_latent_image": encoded,
        "concat_mask": mask,
        "pose_video_latent": noise(5, seed=2),
        "reference_pose_latent": noise(1, seed=3),
        "clip_vision_output": clip.photo,
        "pose_clip_vision_output": clip.pose,
    }
    cond = conditioning_set_values([[torch.zeros(1, 512, 64), {}]], values)
    *conds, latent = handed.start_from(handed.handed_latents(before, 9), 9, cond, cond, cond)
    image = torch.cat([encoded[:, :, :1], before[:, :, -2:], encoded[:, :, 3:]], dim=2)
    assert all(torch.equal(changed[0][1]["concat_latent_image"], image) for changed in conds)
    run = Settings("Custom", 3, TextGuidance(1.0), PoseGuidance(1.0, 0.1, 0.9), solver)
    result, _ = sampling.run(model, *conds, latent, 7, run)
    found = result["samples"]
    torch.testing.assert_close(found[:, :, :3], image[:, :, :3], atol=1e-5, rtol=1e-5)
    assert (found[:, :, 3:] - image[:, :, 3:]).abs().mean() > 0.1


def test_a_clip_cut_in_two_decodes_as_the_whole(vae):
    """The second half starts with another latent 0, as the VAE makes it of one frame; it is not decoded."""
    whole = vae.encode(torch.rand(37, 8 * ROWS, 8 * COLUMNS, 3, generator=torch.Generator().manual_seed(0)))
    want = vae.decode(whole)[0]
    second = torch.cat([noise(1), whole[:, :, -6:]], dim=2)
    everything = whole[:, :, :-5]  # up to the known one, without a limit of the history
    exact = handed.decode_behind(vae, everything, second, 5)
    torch.testing.assert_close(exact, want[-25:], atol=1e-4, rtol=0)
    near = handed.decode_behind(vae, handed.handed_latents(everything, 5), second, 5)
    assert near.shape == exact.shape
    assert (near - exact).abs().mean() < 0.1 * (vae.decode(second)[0] - exact).abs().mean()
