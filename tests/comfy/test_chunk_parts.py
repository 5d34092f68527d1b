"""The chunk loop in parts: nodes one after the other in a plain graph make the frames of the one-node video."""

import comfy.model_base
import pytest
import torch
from comfy_execution.graph_utils import ExecutionBlocker
from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced

from steadydancer_pack.media.disk_cache import DiskCache
from steadydancer_pack.nodes.chunk_parts import JOIN, NEXT, JoinChunks, NextChunk, PlanChunks, check_links
from steadydancer_pack.nodes.common.prompt_links import nearest_nodes
from steadydancer_pack.nodes.sampling import SolverAndSchedule, SteadyDancerGuider, SteadyDancerSampler
from steadydancer_pack.steadydancer_core.long_video.chunk_plan import chunk_seed
from steadydancer_pack.steadydancer_core.long_video.chunks import ChunkSettings, make_long_video
from steadydancer_pack.steadydancer_core.sampling.presets import PRESETS
from steadydancer_pack.tests.comfy.test_chunks import HEIGHT, WIDTH, QuickVae, make_sources, noise
from steadydancer_pack.tests.prompts import node

pytestmark = pytest.mark.usefixtures("inference")

FAST = PRESETS["Fast 4"]
SIZE = {"width": WIDTH, "height": HEIGHT, "chunk_length": 9, "overlap": 5}


@pytest.fixture(scope="module")
def vae():
    return QuickVae()


def make_plan(vae, **changes):
    given = make_sources(15)
    named = {"positive": given.positive, "negative": given.negative, "photo": given.photo, "vae": vae}
    poses = {"pose_frames": given.pose, "pose_negative_frames": given.pose_negative}
    return PlanChunks.execute(**(named | poses | SIZE | {"seed": 7, "tiled_vae": False} | changes)).result


def sample_chunk(model, plan, video):
    """Return the sampled latent of the chunk after `video`, and the chunk, by the nodes of a plain graph."""
    positive, negative, pose_negative, latent, noise_of_chunk, _, chunk = NextChunk.execute(plan, video).result
    pose = FAST.pose.scale, FAST.pose.start, FAST.pose.end
    (guider,) = SteadyDancerGuider.execute(model, positive, negative, FAST.text.scale, *pose, pose_negative).result
    sampler, sigmas = SolverAndSchedule.execute(model, FAST.solver, FAST.scheduler, FAST.steps).result
    return SamplerCustomAdvanced.execute(noise_of_chunk, guider, sampler, sigmas, latent).result[0], chunk


def decode(vae, latent):
    """As VAE Decode does."""
    return vae.decode(latent["samples"])[0]


def test_three_chunks_in_a_graph_are_the_video_of_one_node(model, vae, tmp_path):
    """15 frames, of which the last chunk has 7 in a clip of 9; its last frames are cut off."""
    settings = ChunkSettings(FAST, 7, WIDTH, HEIGHT, 9, 5, 0.7)
    want = make_long_video(model, vae, None, make_sources(15), settings, DiskCache(tmp_path, ".frames", 0))
    (plan, count), video, ends = make_plan(vae), None, []
    for _ in range(count):
        latent, chunk = sample_chunk(model, plan, video)
        video, finished, report = JoinChunks.execute(chunk, decode(vae, latent), 0.7).result
        assert torch.equal(video[:-5], want.frames[: len(video) - 5])  # the next chunk fades in the others
        ends.append((len(video), finished))
    assert ends == [(9, False), (13, False), (15, True)]
    assert torch.equal(video, want.frames)
    assert report.splitlines()[0] == "3 of 3 chunks, 15 of 15 frames"
    assert report.splitlines()[1:] == want.report.splitlines()[-3:]  # the seams


def test_noise_and_seed_are_those_of_the_chunk(model, vae):
    """SamplerCustomAdvanced with the noise and SteadyDancer Sampler with the seed sample the same."""
    plan, _ = make_plan(vae)
    so_far = noise("so far", 9, HEIGHT, WIDTH, 3)
    positive, negative, pose_negative, latent, noise_of_chunk, seed, _ = NextChunk.execute(plan, so_far).result
    assert seed == noise_of_chunk.seed == chunk_seed(7, 1)
    given = positive, negative, latent, seed, {"preset": FAST.name}, pose_negative
    (found,) = SteadyDancerSampler.execute(model, *given).result
    assert torch.equal(found["samples"], sample_chunk(model, plan, so_far)[0]["samples"])


def test_colors_are_matched_as_strongly_as_set(vae):
    still = noise("still", 1, HEIGHT, WIDTH, 3).expand(9, -1, -1, -1)
    chunk = NextChunk.execute(make_plan(vae)[0], still).result[-1]
    left = [
        float((JoinChunks.execute(chunk, still * 0.96, strength).result[0][9:] - still[:1]).abs().mean())
        for strength in (0.0, 0.5, 1.0)
    ]
    assert left[0] == pytest.approx(0.02, rel=0.05) and left[1] == pytest.approx(left[0] / 2, rel=0.1)
    assert left[2] < left[0] / 8


def test_a_video_that_is_not_complete_says_so(vae):
    plan, _ = make_plan(vae)
    chunk = NextChunk.execute(plan).result[-1]
    video, finished, report = JoinChunks.execute(chunk, noise("frames", 9, HEIGHT, WIDTH, 3)).result
    assert torch.equal(video, noise("frames", 9, HEIGHT, WIDTH, 3).half().float()) and not finished
    assert report.splitlines()[:2] == [
        "1 of 3 chunks, 9 of 15 frames",
        "The video is not complete: connect it to one more Next Chunk.",
    ]


def test_a_complete_video_is_passed_on_and_nothing_is_sampled(vae):
    plan, _ = make_plan(vae)
    video = noise("complete", 15, HEIGHT, WIDTH, 3)
    *inputs, chunk = NextChunk.execute(plan, video).result
    assert [isinstance(value, ExecutionBlocker) and value.message is None for value in inputs] == [True] * 6
    assert JoinChunks.check_lazy_status(chunk) == []
    passed, finished, _ = JoinChunks.execute(chunk).result
    assert torch.equal(passed, video) and finished
    assert JoinChunks.check_lazy_status(NextChunk.execute(plan).result[-1]) == ["frames"]


def test_photo_and_pose_are_cropped_alike_and_encoded_once(vae):
    wide = noise("wide", 1, HEIGHT, 2 * WIDTH, 3)
    poses = {name: noise(name, 13, HEIGHT, 2 * WIDTH, 3) for name in ("pose_frames", "pose_negative_frames")}
    plan, _ = make_plan(vae, photo=wide, **poses)
    assert torch.equal(plan.photo, wide[:, :, WIDTH // 2 : WIDTH // 2 + WIDTH])
    first, later = (
        NextChunk.execute(plan, video).result[0][0][1] for video in (None, noise("so far", 9, HEIGHT, WIDTH, 3))
    )
    for name, image in (("reference_photo_latent", wide), ("reference_pose_latent", poses["pose_frames"][:1])):
        assert torch.equal(first[name], vae.encode(image[:, :, WIDTH // 2 : WIDTH // 2 + WIDTH]))
        assert later[name] is first[name]


# What is refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"overlap": 9}, "leaves nothing new in a chunk of 9"),
        ({"chunk_length": 4}, "a chunk must have at least 5"),
        ({"photo": torch.zeros(0, HEIGHT, WIDTH, 3)}, "empty batch"),
        ({"pose_frames": None, "pose_negative_frames": None}, "Plan Chunks has neither pose_frames nor poses"),
        ({"pose_negative_frames": torch.zeros(8, HEIGHT, WIDTH, 3)}, "8 pose-negative frames for a clip of 15"),
    ],
)
def test_a_plan_that_cannot_work(vae, changes, message):
    with pytest.raises(ValueError, match=message):
        make_plan(vae, **changes)


@pytest.mark.parametrize(
    ("frames", "height", "message"),
    [
        (12, HEIGHT, r"has 12 frames, but the chunks of this plan end after 9, 13, 15\."),
        (16, HEIGHT, "has 16 frames"),
        (9, 2 * HEIGHT, "The video so far is 32x96, but this plan makes 32x48"),
    ],
)
def test_a_video_that_is_not_of_this_plan(vae, frames, height, message):
    with pytest.raises(ValueError, match=message):
        NextChunk.execute(make_plan(vae)[0], torch.zeros(frames, height, WIDTH, 3))


@pytest.mark.parametrize(("frames", "width"), [(8, WIDTH), (13, WIDTH), (9, 64)])
def test_frames_of_another_length_or_size(vae, frames, width):
    chunk = NextChunk.execute(make_plan(vae)[0]).result[-1]
    with pytest.raises(ValueError, match=f"Found {frames} frames of {width}x48, but chunk 1 has 9 frames of 32x48"):
        JoinChunks.execute(chunk, torch.zeros(frames, HEIGHT, width, 3))


def test_frames_that_are_no_numbers(vae):
    chunk = NextChunk.execute(make_plan(vae)[0]).result[-1]
    with pytest.raises(ValueError, match="Chunk 1 holds values that are not numbers.* --fp32-vae"):
        JoinChunks.execute(chunk, torch.full((9, HEIGHT, WIDTH, 3), float("nan")))


def test_another_model_and_a_missing_pose_negative_are_refused_by_the_guider(model, vae):
    positive, negative, pose_negative = NextChunk.execute(make_plan(vae, pose_negative_frames=None)[0]).result[:3]
    assert pose_negative is None
    with pytest.raises(ValueError, match="'Plan Chunks' and connect the pose_negative output"):
        SteadyDancerGuider.execute(model, positive, negative, 1.0, 1.0, 0.1, 0.4)
    stock = model.clone()
    stock.model = comfy.model_base.WAN21.__new__(comfy.model_base.WAN21)
    with pytest.raises(ValueError, match="The connected model is WAN21, not SteadyDancer"):
        SteadyDancerGuider.execute(stock, positive, negative, 1.0, 0.0, 0.1, 0.4)


def make_prompt(latent_of="n2"):
    """Two chunks in API form; the latent of the second one's sampler comes from node `latent_of`."""
    return {
        "plan": node("SteadyDancerPlanChunks"),
        "n1": node(NEXT, plan=["plan", 0]),
        "s1": node("Sampler", positive=["n1", 0], latent=["n1", 3], steps=4),
        "j1": node(JOIN, chunk=["n1", 6], frames=["s1", 0]),
        "n2": node(NEXT, plan=["plan", 0], video=["j1", 0]),
        "s2": node("Sampler", positive=["n2", 0], latent=[latent_of, 3], steps=4),
        "tone": node("MatchTone", image=["s2", 0], like=["j1", 0]),
        "j2": node(JOIN, chunk=["n2", 6], frames=["tone", 0]),
    }


def test_frames_that_were_sampled_with_another_next_chunk():
    assert nearest_nodes(make_prompt("n1"), "j2", "frames", (NEXT, JOIN)) == {"n1", "n2", "j1"}
    for prompt, place in ((make_prompt(), "j2"), (make_prompt(), "j1"), (None, "j2"), (make_prompt(), "12.0.j2")):
        check_links(prompt, place)
    with pytest.raises(ValueError, match="were sampled with another 'Next Chunk' than its chunk comes from"):
        check_links(make_prompt("n1"), "j2")
