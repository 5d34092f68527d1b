"""Chunk after chunk: the length of the dance, one reference pair for all, and no finished chunk lost or mistaken."""

from dataclasses import replace
from functools import partial

import comfy.model_management
import comfy.sd
import pytest
import torch
from comfy.ldm.wan.vae import WanVAE
from safetensors.torch import load_file

from steadydancer_pack.media.disk_cache import DiskCache
from steadydancer_pack.media.frame_files import SUFFIX
from steadydancer_pack.miniature import shipped
from steadydancer_pack.steadydancer_core.long_video import chunks
from steadydancer_pack.steadydancer_core.long_video.chunk_plan import cross_fade, plan_chunks
from steadydancer_pack.steadydancer_core.long_video.chunk_store import as_stored
from steadydancer_pack.steadydancer_core.long_video.chunked_video import Sources, TiledVae
from steadydancer_pack.steadydancer_core.long_video.chunks import ChunkSettings, make_long_video
from steadydancer_pack.steadydancer_core.memory.residency import swap_blocks
from steadydancer_pack.steadydancer_core.sampling import conditions
from steadydancer_pack.steadydancer_core.sampling import run as sampling
from steadydancer_pack.steadydancer_core.sampling.frame_prompts import add_prompt, parse_frames
from steadydancer_pack.steadydancer_core.sampling.guidance import PoseGuidance, TextGuidance
from steadydancer_pack.steadydancer_core.sampling.presets import Settings

pytestmark = pytest.mark.usefixtures("inference")

WIDTH, HEIGHT = 32, 48
TWO_STEPS = Settings("Custom", 2, TextGuidance(1.0), PoseGuidance(1.0, 0.1, 0.9), "official euler")
SETTINGS = ChunkSettings(TWO_STEPS, seed=7, width=WIDTH, height=HEIGHT, chunk_length=9, overlap=5, run_name="watched")
PASSES = 3  # of a chunk: two steps, and the pose term in the second


class QuickVae:
    """A Wan 2.1 VAE in kind, shape and causality, without its work: means of 8 x 8 pixels and of up to 4 frames."""

    latent_channels, vae_dtype = 16, torch.float32

    def __init__(self):
        self.first_stage_model = WanVAE.__new__(WanVAE)
        torch.nn.Module.__init__(self.first_stage_model)
        self.colours = torch.linalg.qr(noise("colours", 16, 3))[0]  # orthonormal columns: RGB to 16 channels
        self.first_stage_model.register_buffer("colours", self.colours)

    def encode(self, pixels):
        cells = torch.nn.functional.avg_pool2d(pixels.movedim(-1, 1) * 2 - 1, 8)
        groups = [cells[:1], *[cells[i : i + 4] for i in range(1, len(cells), 4)]]
        means = torch.stack([group.mean(dim=0) for group in groups])
        return torch.einsum("lc,tchw->lthw", self.colours, means)[None]

    def encode_tiled(self, pixels, tile_x, tile_y, overlap, work=None):
        return (work or self.encode)(pixels)

    def decode_tiled(self, latent, tile_x, tile_y, overlap, work=None):
        return (work or self.decode)(latent)

    def decode(self, latent):
        means = torch.einsum("lc,blthw->bthwc", self.colours, latent)
        frames = torch.cat([means[:, :1], means[:, 1:].repeat_interleave(4, dim=1)], dim=1)
        return (frames / 2 + 0.5).clamp(0, 1).repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)


@pytest.fixture(scope="module")
def vae():
    return QuickVae()


@pytest.fixture(scope="module")
def real_vae():
    return comfy.sd.VAE(sd=load_file(shipped("steadydancer_miniature_vae.safetensors")))


@pytest.fixture
def store(tmp_path):
    return DiskCache(tmp_path / "chunks", SUFFIX, 1 << 30)


@pytest.fixture
def off(tmp_path):
    return DiskCache(tmp_path / "never", SUFFIX, 0)


def noise(name, *shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(map(ord, name))))


def make_sources(frames):
    """A dance whose first n frames are those of any other one made here."""
    pose, distorted = (noise(name, 64, HEIGHT, WIDTH, 3)[:frames] for name in ("pose", "misplaced"))
    text, negative = ([[noise(name, 1, 512, 64), {}]] for name in ("text", "negative"))
    return Sources(text, negative, noise("photo", 1, HEIGHT, WIDTH, 3), pose, distorted)


class Watch:
    """A model that remembers what each call was given, and runs out of memory at call `fail_at`."""

    def __init__(self, model, fail_at=None, error=None):
        self.model = model.clone()
        self.model.set_model_unet_function_wrapper(self.call)
        self.seen, self.fail_at, self.error = [], fail_at, error

    def call(self, apply_model, args):
        if self.fail_at == len(self.seen):
            raise self.error
        self.seen.append({"sigma": args["timestep"], **args["c"]})
        return apply_model(args["input"], args["timestep"], **args["c"])

    @property
    def passes(self):
        return sum(len(call["sigma"]) for call in self.seen)


def make(model, vae, store, frames=13, settings=SETTINGS, sources=None):
    return make_long_video(model, vae, None, sources or make_sources(frames), settings, store)


# The video


@pytest.mark.parametrize("frames", [5, 6, 8, 9, 10, 13, 15])
def test_the_video_is_as_long_as_the_dance(model, vae, off, frames):
    video = make(model, vae, off, frames)
    assert video.frames.shape == (frames, HEIGHT, WIDTH, 3) and video.frames.isfinite().all()
    assert video.frames.min() >= 0 and video.frames.max() <= 1
    assert f"{WIDTH}x{HEIGHT}, {frames} frames in {len(plan_chunks(frames, 9, 5))} chunk(s)" in video.report


def test_the_runs_of_this_time_are_logged_and_chunks_from_disk_are_not(model, vae, store):
    logs = make(model, vae, store).logs
    assert [(log.passes, log.pose_steps) for log in logs] == [(PASSES, {1})] * 2
    assert make(model, vae, store).logs == []


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_one_chunk_is_the_normal_road(model, real_vae, off, scale):
    run = Settings("Custom", 2, TextGuidance(3.0), PoseGuidance(scale, 0.1, 0.9), "official unipc")
    sources = make_sources(9)
    found = make(model, real_vae, off, settings=ChunkSettings(run, 7, WIDTH, HEIGHT, 9, 1), sources=sources).frames
    given = sources.positive, sources.negative, real_vae, sources.photo, sources.pose, sources.pose_negative
    road = conditions.reconcile(*given, width=WIDTH, height=HEIGHT, length=9)
    latent, _ = sampling.run(model, *road[:4], 7, run)
    want = real_vae.decode(latent["samples"])[0]
    assert float((found - want).abs().max()) <= 2**-12  # half precision in 0..1


def test_every_call_sees_the_same_reference_pair_and_clip_features(model, vae, off):
    watch = Watch(model)
    make(watch.model, vae, off, 17)
    assert watch.passes == 3 * PASSES
    for name in ("ref_x", "ref_c", "clip_fea", "clip_fea_c"):
        samples = [sample for call in watch.seen for sample in call[name]]
        assert all(torch.equal(sample, samples[0]) for sample in samples), name
    assert torch.equal(watch.seen[0]["ref_x"][:1, 20:], watch.seen[0]["c_concat"][:1, 4:, :1])  # the photo


def test_later_chunks_start_from_the_frames_before_them(model, vae, off):
    watch = Watch(model)
    settings = replace(SETTINGS, colour_match=0.0)
    first = make(model, vae, off, 9, settings).frames
    make(watch.model, vae, off, 13, settings)
    concat = [call["c_concat"][0] for call in watch.seen]
    masks = [image[:4].mean(dim=(0, 2, 3)).tolist() for image in concat]
    later = masks.index([1.0, 1.0, 0.0])  # as the model sees them: 1 is given
    assert set(map(tuple, masks)) == {(1, 0, 0), (1, 1, 0)} and set(map(tuple, masks[:later])) == {(1, 0, 0)}
    known = model.model.process_latent_in(vae.encode(first[4:9]))[0]
    assert torch.equal(concat[later][4:, :2], known)


def test_the_pose_of_each_chunk_is_its_own_and_the_last_one_is_held(model, vae, off):
    watch, sources = Watch(model), make_sources(11)
    make(watch.model, vae, off, sources=sources)
    poses = [sample for call in watch.seen for sample in call["pose_latents"]]
    held = torch.cat([sources.pose[4:], sources.pose[10:].expand(2, -1, -1, -1)])
    for clip in (sources.pose[:9], held):
        want = model.model.process_latent_in(vae.encode(clip))[0]
        assert any(torch.equal(pose, want.to(pose)) for pose in poses)


def test_no_colour_match_and_no_noise_leave_the_border_without_a_step(model, vae, off, monkeypatch):
    """With a sampler that gives back the given frames and holds the last one, nothing moves at a border."""
    ramp = torch.linspace(0, 1, 9).view(9, 1, 1, 1).expand(9, HEIGHT, WIDTH, 3)

    def make_chunk(self, chunk, known, _handed):
        return [cross_fade(known, ramp / 2 + known[0]) if known is not None else ramp / 2]

    monkeypatch.setattr(chunks.ChunkMaker, "make", make_chunk)
    frames = make(model, vae, off, 13).frames
    change = frames.diff(dim=0).mean(dim=(1, 2, 3))
    assert torch.allclose(change, torch.full_like(change, 1 / 16), atol=2e-3)


def test_the_report_scores_every_border(model, vae, off):
    report = make(model, vae, off, 17).report
    assert "of 2 seams should be visible" in report and "frame 6: " in report and "frame 10: " in report
    assert "2 steps with official euler" in report
    assert "No seam" in make(model, vae, off, 9).report


def test_tiles_reach_the_vae(model, vae, off, monkeypatch):
    for name in ("encode", "decode"):
        monkeypatch.setattr(vae, f"{name}_tiled", partial(getattr(vae, f"{name}_tiled"), work=getattr(vae, name)))
        monkeypatch.setattr(vae, name, lambda pixels: pytest.fail("not in tiles"))
    settings = replace(SETTINGS, tiled_vae=True)
    assert make(model, vae, off, 13, settings).frames.shape == (13, HEIGHT, WIDTH, 3)


def test_one_tile_is_the_whole_picture(real_vae):
    tiled, pixels = TiledVae(real_vae), noise("pixels", 5, 32, 32, 3)
    latent = tiled.encode(pixels)
    assert torch.allclose(latent, real_vae.encode(pixels), atol=1e-4)
    assert torch.allclose(tiled.decode(latent), real_vae.decode(latent), atol=1e-4)


def test_one_progress_bar_for_all_chunks(model, vae, off, monkeypatch):
    seen = []

    def prepare_callback(model, steps):
        return lambda step, x0, x, total: seen.append((step, total, tuple(x0.shape)))

    monkeypatch.setattr(sampling.latent_preview, "prepare_callback", prepare_callback)
    make(model, vae, off, 13)
    assert seen == [(step, 4, (1, 16, 3, HEIGHT // 8, WIDTH // 8)) for step in range(4)]


# Finished chunks


def out_of_memory():
    return comfy.model_management.OOM_EXCEPTION("CUDA out of memory. Tried to allocate 2.00 GiB.")


def test_a_run_that_ran_out_of_memory_goes_on_bit_for_bit(model, vae, store, off):
    whole = Watch(model)
    want = make(whole.model, vae, off, 17).frames
    calls = len(whole.seen)
    broken = Watch(model, fail_at=2 * calls // 3 + 1, error=out_of_memory())
    with pytest.raises(type(out_of_memory()), match="2 finished chunks are kept and the next run goes on from them"):
        make(broken.model, vae, store, 17)
    again = Watch(swap_blocks(model, 1))
    video = make(again.model, vae, store, 17)
    assert torch.equal(video.frames, want)
    assert len(again.seen) == calls // 3 and "2 of 3 chunks were finished before" in video.report
    third = Watch(model)
    assert torch.equal(make(third.model, vae, store, 17).frames, want) and third.seen == []


def test_cancel_loses_no_finished_chunk_and_ends_the_run_between_two(model, vae, store):
    stop = comfy.model_management.InterruptProcessingException()
    broken = Watch(model, fail_at=PASSES, error=stop)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        make(broken.model, vae, store, 13)
    assert len(list(store.folder.glob("*.frames"))) == 1

    def cancel(self, key, frames, keep):
        comfy.model_management.interrupt_current_processing()
        return True

    with pytest.MonkeyPatch.context() as patch, pytest.raises(comfy.model_management.InterruptProcessingException):
        patch.setattr(DiskCache, "save", cancel)
        make(model, vae, store, 13)
    assert not comfy.model_management.processing_interrupted()


def test_a_longer_dance_goes_on_from_the_shorter_one(model, vae, store, off):
    make(Watch(model).model, vae, store, 13)
    watch = Watch(model)
    video = make(watch.model, vae, store, 17)
    assert watch.passes == PASSES and torch.equal(video.frames, make(model, vae, off, 17).frames)


def test_a_damaged_chunk_is_made_again_and_the_next_ones_still_serve(model, vae, store, caplog):
    make(Watch(model).model, vae, store, 9)
    (first,) = store.folder.glob("*.frames")
    want = make(Watch(model).model, vae, store, 17).frames
    first.write_bytes(first.read_bytes()[:-1])
    watch = Watch(model)
    assert torch.equal(make(watch.model, vae, store, 17).frames, want)
    assert watch.passes == PASSES and "made anew" in caplog.text


def changed(sources, name):
    value = getattr(sources, name)
    if isinstance(value, torch.Tensor):
        value = value.clone()
        value[0, 0, 0, 0] += 1e-3
        return sources._replace(**{name: value})
    return sources._replace(**{name: [[value[0][0] + 1e-3, value[0][1]]]})


@pytest.fixture
def one_chunk(model, vae, store):
    """A store that holds the only chunk of a run, and a function that counts the passes of another run."""
    make(Watch(model).model, vae, store, 9)

    def passes(model=model, settings=SETTINGS, sources=None):
        watch = Watch(model)
        make(watch.model, vae, store, 9, settings, sources)
        return watch.passes

    assert passes() == 0
    return passes


@pytest.mark.parametrize("name", [name for name in Sources._fields if name != "transition"])
def test_any_other_source_is_sampled_anew(one_chunk, name):
    assert one_chunk(sources=changed(make_sources(9), name)) == PASSES


VALUES = {"seed": 8, "overlap": 1, "chunk_length": 13, "colour_match": 0.5, "tiled_vae": True, "height": 32}
WEAKER, SHIFTED = replace(TWO_STEPS, pose=PoseGuidance(0.9, 0.1, 0.9)), replace(TWO_STEPS, shift=3.0)


@pytest.mark.parametrize(
    ("name", "value"), [*VALUES.items(), ("run_name", "another"), ("run", WEAKER), ("run", SHIFTED)]
)
def test_any_other_setting_is_sampled_anew(one_chunk, name, value):
    assert one_chunk(settings=replace(SETTINGS, **{name: value})) == PASSES


def test_another_lora_is_sampled_anew(model, one_chunk):
    patched = model.clone()
    patched.add_patches({"diffusion_model.blocks.0.self_attn.q.weight": ("diff", (torch.ones(128, 128),))}, 0.1)
    assert one_chunk(model=patched) == PASSES
    patched.detach()


def test_the_name_of_a_preset_and_the_blocks_to_swap_change_nothing(model, one_chunk):
    named = replace(TWO_STEPS, name="Mine")
    assert one_chunk(settings=replace(SETTINGS, run=named)) == 0
    assert one_chunk(model=swap_blocks(model, 2)) == 0


def test_a_changed_setting_is_named(model, vae, store):
    for seed, text in ((7, ""), (7, "1 of 1 chunks were finished before"), (8, "since the last run: seed 7 -> 8")):
        assert text in make(model, vae, store, 9, replace(SETTINGS, run_name="", seed=seed)).report


def test_without_a_name_what_cannot_be_compared_is_not_kept(model, vae, store):
    opaque = model.clone()
    opaque.model_options["transformer_options"]["hidden"] = (character for character in "opaque")
    video = make(opaque, vae, store, 9, replace(SETTINGS, run_name=""))
    assert "not kept: builtins.generator (transformer_options > hidden) cannot be compared" in video.report
    assert not store.folder.exists()


def test_a_full_disk_does_not_stop_the_run(model, vae, store, off, monkeypatch, caplog):
    asked = []

    def full(self, key, frames, keep=()):
        asked.append(key)
        return False

    monkeypatch.setattr(DiskCache, "save", full)
    assert torch.equal(make(model, vae, store, 17).frames, make(model, vae, off, 17).frames)
    assert len(asked) == 1


# What is refused before any work


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pose_negative": None}, "nothing is connected to pose_negative_frames"),
        ({"pose_negative": torch.zeros(8, HEIGHT, WIDTH, 3)}, "8 pose-negative frames for a clip of 9 frames"),
        ({"pose": torch.zeros(4, HEIGHT, WIDTH, 3)}, "4 pose frame"),
        ({"pose": torch.zeros(9, WIDTH, HEIGHT, 3)}, "the shapes differ"),
        ({"photo": torch.zeros(0, HEIGHT, WIDTH, 3)}, "empty batch"),
        ({}, "SteadyDancer needs the Wan 2.1 VAE"),  # and none is given
    ],
)
def test_sources_that_cannot_work(model, vae, off, monkeypatch, change, message):
    for name in ("encode", "decode"):
        monkeypatch.setattr(vae, name, lambda pixels: pytest.fail("work was done"))
    with pytest.raises(ValueError, match=message):
        make(model, vae if change else None, off, sources=make_sources(9)._replace(**change))


def test_unused_pose_negative_frames_are_noted(model, vae, off):
    run = Settings("Custom", 1, TextGuidance(1.0), PoseGuidance(0.0), "official euler")
    watch = Watch(model)
    video = make(watch.model, vae, off, 9, ChunkSettings(run, 7, WIDTH, HEIGHT, 9, 5))
    assert "pose-negative is not used" in video.report and watch.passes == 1


def test_values_that_are_no_numbers_stop_the_run_with_what_is_done_kept(model, vae, store):
    watch = Watch(model)

    def broken(apply_model, args):
        result = watch.call(apply_model, args)
        return result * float("nan") if watch.passes > PASSES else result

    watch.model.set_model_unet_function_wrapper(broken)
    with pytest.raises(ValueError, match="Chunk 2 holds values that are not numbers.* another weight precision"):
        make(watch.model, vae, store, 13)


def test_a_vae_that_breaks_is_told_from_a_model_that_does(model, vae, off, monkeypatch):
    monkeypatch.setattr(vae, "decode", lambda latent: torch.full((1, 9, HEIGHT, WIDTH, 3), float("nan")))
    with pytest.raises(ValueError, match="it is the VAE"):
        make(model, vae, off, 9)


def test_a_chunk_takes_the_prompt_of_its_frames_and_other_frames_make_other_chunks(model, vae, store):
    watch, sources = Watch(model), make_sources(13)
    back = [[noise("back", 1, 512, 64), {}]]
    front_only, back_only = (
        chunks.prepare(model, vae, None, sources._replace(positive=prompt), SETTINGS)
        for prompt in (sources.positive, back)
    )
    first = as_stored(front_only.make(front_only.plan[0], None, None)[0])
    second = as_stored(back_only.make(back_only.plan[1], first[4:], None)[0])
    assert add_prompt(sources.positive, back, ()) is sources.positive
    mixed = sources._replace(positive=add_prompt(sources.positive, back, parse_frames("9-")))
    video = make(watch.model, vae, store, sources=mixed).frames
    assert watch.passes == 2 * PASSES  # frames 0 to 8, then 4 to 12 of which 9 to 12 are new: no pass more
    assert torch.equal(video, torch.cat([first[:4], second]))
    assert not torch.equal(second, as_stored(front_only.make(front_only.plan[1], first[4:], None)[0]))
    for frames, passes in (("9-", 0), ("9-12", 2 * PASSES), ("10-", 2 * PASSES + PASSES)):
        watch.seen.clear()
        other = sources._replace(positive=add_prompt(sources.positive, back, parse_frames(frames)))
        make(watch.model, vae, store, sources=other)
        assert watch.passes == passes


# What a chunk continues from

HANDING = replace(SETTINGS, continue_from="latents", colour_match=0.0)


def test_latents_are_handed_on_and_kept(model, vae, off, monkeypatch):
    sampled, run = [], sampling.run

    def watched(*args):
        result = run(*args)
        sampled.append(result[0]["samples"])
        return result

    watch = Watch(model)
    monkeypatch.setattr(sampling, "run", watched)
    make(watch.model, vae, off, 17, HANDING)
    first, second, third = sampled
    for before, after in ((first, second), (second, third)):
        torch.testing.assert_close(after[:, :, 1], before[:, :, -1], atol=2e-3, rtol=1e-3)  # rounded as stored
        handed = model.model.process_latent_in(after)[0, :, 1]
        known = [call["c_concat"][0, 4:, 1] for call in watch.seen]
        assert any(torch.allclose(image, handed, atol=1e-3) for image in known)


def test_handed_latents_go_on_bit_for_bit(model, vae, store, off):
    want = make(model, vae, off, 17, HANDING).frames
    assert not torch.equal(want, make(model, vae, off, 17, replace(HANDING, continue_from="frames")).frames)
    make(Watch(model).model, vae, store, 13, HANDING)
    watch = Watch(model)
    video = make(watch.model, vae, store, 17, HANDING)
    assert torch.equal(video.frames, want) and watch.passes == PASSES
    assert "2 of 3 chunks were finished before" in video.report


def test_one_frame_of_overlap_has_no_latent_to_hand_on(model, vae, off):
    with pytest.raises(ValueError, match="continuing from latents needs at least 5 frames"):
        make(model, vae, off, 17, replace(HANDING, overlap=1))


# A clip to continue


def test_the_first_chunk_starts_from_the_end_of_a_clip(model, vae, off):
    clip, watch = noise("clip", 20, HEIGHT, WIDTH, 3), Watch(model)
    settings = replace(SETTINGS, colour_match=0.0)
    sources = make_sources(9)._replace(transition=clip)
    frames = make(watch.model, vae, off, settings=settings, sources=sources).frames
    known = model.model.process_latent_in(vae.encode(clip[-5:]))[0]
    for call in watch.seen:
        assert torch.equal(call["c_concat"][0, 4:, :2], known)
        assert torch.equal(call["ref_x"][0, :16], model.model.process_latent_in(vae.encode(sources.photo))[0])
    assert (frames[0] - clip[-5]).abs().max() < (make(model, vae, off, 9, settings).frames[0] - clip[-5]).abs().max()


def test_another_clip_makes_other_chunks(model, vae, store):
    for number in range(2):
        watch = Watch(model)
        clip = noise(f"clip {number}", 5, HEIGHT, WIDTH, 3)
        make(watch.model, vae, store, sources=make_sources(13)._replace(transition=clip))
        assert watch.passes == 2 * PASSES


def test_a_clip_that_cannot_be_continued_is_refused_before_any_work(model, vae, off):
    sources = make_sources(13)._replace(transition=noise("clip", 4, HEIGHT, WIDTH, 3))
    watch = Watch(model)
    with pytest.raises(ValueError, match="continues from its last 5"):
        make(watch.model, vae, off, sources=sources)
    assert watch.seen == []
