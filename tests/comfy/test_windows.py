"""Long videos in windows: every window as part of the whole clip, the photo once, one reference pair."""

import gc

import pytest
import torch
from comfy.context_windows import IndexListContextWindow
from comfy.patcher_extension import WrappersMP

from steadydancer_pack.steadydancer_core.long_video.windows import apply_windows, in_latents, window_borders
from steadydancer_pack.steadydancer_core.model import pose_windows
from steadydancer_pack.steadydancer_core.model.memory_estimate import WHOLE_CLIP_CHANNELS, whole_clip_bytes
from steadydancer_pack.steadydancer_core.model.pose_modulation import Run, frame_runs
from steadydancer_pack.steadydancer_core.sampling.guidance import PoseGuidance
from steadydancer_pack.steadydancer_core.sampling.run import make_guider, sample

GUIDANCE = PoseGuidance(1.0, 0.1, 0.4)


@pytest.mark.parametrize(
    ("indices", "total", "runs"),
    [
        (range(4), 4, [Run(0, 4, [0, 1, 2, 3])]),
        (range(5, 8), 20, [Run(2, 11, [3, 4, 5])]),
        (range(15, 20), 20, [Run(12, 20, [3, 4, 5, 6, 7])]),
        ([2, 6, 10], 20, [Run(0, 14, [2, 6, 10])]),
        ([18, 19, 0, 1], 20, [Run(15, 20, [3, 4]), Run(0, 5, [0, 1])]),
        ([0, 12], 20, [Run(0, 4, [0]), Run(9, 16, [3])]),
    ],
)
def test_runs_by_hand(indices, total, runs):
    assert frame_runs(indices, total) == runs


@torch.no_grad()
@pytest.mark.parametrize("indices", [range(9), range(3, 8), [1, 3, 5, 7, 9], [12, 13, 0, 1, 2], [6, 5, 4]])
@pytest.mark.parametrize("anchor", [None, 2])
def test_a_window_has_the_motion_of_the_whole_clip(golden_patcher, inputs, indices, anchor):
    model, long = golden_patcher.model.diffusion_model, type(inputs)(frames=14)
    pose, noise = long.latent("pose_latent"), long.latent("noise")
    whole = model.modulate(noise, pose)
    window = IndexListContextWindow(list(indices), dim=2, total_frames=14)
    if anchor is not None:
        window.causal_anchor_index = anchor
    own = [*([] if anchor is None else [anchor]), *indices]
    part = model.modulate(noise[:, :, own], pose_windows.pose_of_window(pose, window), pose_windows.window_runs(window))
    for name in ("temporal", "spatial", "fused"):
        torch.testing.assert_close(getattr(part, name), getattr(whole, name)[:, :, own], rtol=1e-5, atol=1e-6)


def run(model, make_conds, inputs, steps=2, guidance=GUIDANCE):
    guider = make_guider(model, *make_conds(inputs), text_guidance=5.0, guidance=guidance)
    return sample(guider, inputs.empty(), 0, "official unipc", "official", steps)["samples"]


@pytest.fixture
def noted(golden_patcher):
    """A model that notes x, pose, ref_x, ref_c and both image features of every call, and the notes."""
    model, notes = golden_patcher.clone(), []

    def note(executor, x, *args, **kwargs):
        names = ("pose_latents", "ref_x", "ref_c", "clip_fea_c")
        notes.append({"x": x, "clip_fea": args[2], **{name: kwargs[name] for name in names}})
        return executor(x, *args, **kwargs)

    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "test", note)
    return model, notes


def test_321_frames_are_computed_81_at_a_time(noted, make_conds, inputs):
    model, notes = noted
    long = type(inputs)(frames=81)  # 321 frames of video
    found = run(apply_windows(model, 81, 16), make_conds, long, steps=1)
    assert found.shape[2] == 81 and found.isfinite().all()
    assert max(note["x"].shape[2] for note in notes) == 22  # 21 and the frame before them
    assert max(note["pose_latents"].shape[2] for note in notes) == 22 + 2 * 3
    calls = len(notes)
    notes.clear()
    run(apply_windows(model, 81, 16), make_conds, type(inputs)(frames=38), steps=1)
    assert (calls, len(notes)) == (5, 2)  # 17 new latent frames a window: the time grows with the length


def storages(frames):
    """Return the channels of every float32 video of `frames` latent frames that is alive, by its memory."""
    gc.collect()
    alive = (o for o in gc.get_objects() if issubclass(type(o), torch.Tensor))
    clips = (t for t in alive if t.ndim == 5 and t.shape[2] == frames and t.shape[-1] > 1)
    return {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() // 4 // t[:, :1].numel() for t in clips}


def test_what_stays_of_the_whole_clip_is_counted(golden_patcher, make_conds, inputs, request):
    """The solver's latents, the branches, their sums and the photo; the pose waits in main memory for its window."""
    gc.freeze()  # what is there already is not looked through again and again
    request.addfinalizer(gc.unfreeze)
    long, alive = type(inputs)(frames=38), []
    conds, model = make_conds(long), apply_windows(golden_patcher, 81, 16)
    before = set(storages(38))

    def note(executor, x, *args, **kwargs):
        alive.append(sum(size for place, size in storages(38).items() if place not in before))
        return executor(x, *args, **kwargs)

    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "test", note)
    run(model, lambda _: conds, long, steps=4)
    pose_in_main_memory = 3 * 16
    assert max(alive) - pose_in_main_memory == WHOLE_CLIP_CHANNELS


def test_comfyui_makes_room_for_the_whole_clip_too(golden_patcher, make_conds, inputs):
    model, shapes = apply_windows(golden_patcher, 81, 16), []

    def note(executor, model, noise_shape, *args, **kwargs):
        shapes.append(list(noise_shape))
        return executor(model, noise_shape, *args, **kwargs)

    model.add_wrapper_with_key(WrappersMP.PREPARE_SAMPLING, "test", note)
    for frames in (22, 61):
        run(model, make_conds, type(inputs)(frames=frames), steps=1)
    short, long = shapes
    assert short[2] == 22
    room = golden_patcher.model.memory_required([1, 16, long[2] - 22, *long[3:]])
    one_frame = golden_patcher.model.memory_required([1, 16, 1, *long[3:]])
    assert 0 <= room - whole_clip_bytes([1, 16, 61, *long[3:]]) < one_frame


def test_the_photo_is_in_the_first_window_only(noted, make_conds, inputs):
    model, notes = noted
    long = type(inputs)(frames=38)
    conds = make_conds(long)
    run(apply_windows(model, 81, 16), lambda _: conds, long, steps=1)
    image = model.model.process_latent_in(conds[0][0][1]["concat_latent_image"])
    first, second = (note["x"] for note in notes)
    assert (first[:, 16:20, 0] == 1).all() and (first[:, 16:20, 1:] == 0).all()
    assert (second[:, 16:20] == 0).all()
    torch.testing.assert_close(second[:1, 20:], image[:, :, 16:38], rtol=1e-5, atol=1e-5)


def test_every_window_has_the_same_reference_pair(noted, make_conds, inputs):
    model, notes = noted
    run(apply_windows(model, 81, 16), make_conds, type(inputs)(frames=38), steps=4)
    assert len(notes) > 4
    for note in notes:
        for name in ("ref_x", "ref_c", "clip_fea", "clip_fea_c"):
            first = notes[0][name][0]
            assert all(torch.equal(row, first) for row in note[name])


@pytest.mark.parametrize("frames", [3, 21])
def test_a_window_that_covers_the_clip_is_the_full_pass(golden_patcher, make_conds, inputs, frames):
    clip = type(inputs)(frames=frames)
    assert torch.equal(
        run(apply_windows(golden_patcher, 81, 16), make_conds, clip), run(golden_patcher, make_conds, clip)
    )


def test_the_noise_of_later_windows_is_a_shuffle_of_the_first(golden_patcher, make_conds, inputs):
    starts = []

    def note(executor, x, *args, **kwargs):
        starts.append(x[:1, :16])
        return executor(x, *args, **kwargs)

    model = golden_patcher.clone()
    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "test", note)
    run(apply_windows(model, 81, 16), make_conds, type(inputs)(frames=38), steps=1)
    first, second = ({tuple(frame.flatten().tolist()) for frame in x[0].unbind(1)} for x in starts)
    assert second <= first
    starts.clear()
    run(apply_windows(model, 81, 16, freenoise=False), make_conds, type(inputs)(frames=38), steps=1)
    first, second = ({tuple(frame.flatten().tolist()) for frame in x[0].unbind(1)} for x in starts)
    assert len(second - first) == 17


def test_windows_without_overlap_run_and_the_given_model_keeps_its_options(golden_patcher, make_conds, inputs):
    assert run(apply_windows(golden_patcher, 13, 0), make_conds, type(inputs)(frames=8), steps=1).isfinite().all()
    assert "context_handler" not in golden_patcher.model_options


@pytest.mark.parametrize(
    ("window", "overlap", "words"),
    [(4, 0, "at least 5"), (81, 81, "must bring new"), (83, 82, "must bring new"), (81, -1, "must bring new")],
)
def test_windows_that_cannot_work(golden_patcher, window, overlap, words):
    with pytest.raises(ValueError, match=words):
        apply_windows(golden_patcher, window, overlap)


@pytest.mark.parametrize(
    ("window", "overlap", "latent"),
    [(81, 16, (21, 4)), (83, 19, (21, 4)), (5, 4, (2, 1)), (5, 0, (2, 0)), (13, 2, (4, 1))],
)
def test_frames_in_latents(window, overlap, latent):
    assert in_latents(window, overlap) == latent


def test_borders_by_hand():
    # 38 latent frames: windows 0..20 and 17..37 share 17..20, that is frames 65..80; their middle is frame 73.
    assert window_borders(149, 81, 16) == ([73], 8)
    # 30: the last window is moved back to 9..29 and shares 9..20, frames 33..80.
    assert window_borders(117, 81, 16) == ([57], 24)
    assert window_borders(81, 81, 16) == ([], 0)


def test_a_node_that_cuts_the_video_without_its_pose_is_told(golden_patcher):
    pose, x = torch.zeros(1, 16, 9, 4, 4), torch.zeros(1, 36, 5, 4, 4)
    assert pose_windows.runs_in({}, x, x) == []
    with pytest.raises(ValueError, match=r"9 latent frames and the video 5.*Long Video \(Windows\)"):
        pose_windows.runs_in({}, pose, x)


def test_a_batch_of_long_videos_is_refused(golden_patcher, make_conds, inputs):
    def sample_two(clip):
        guider = make_guider(apply_windows(golden_patcher, 17, 4), *make_conds(clip), 1.0, GUIDANCE)
        return sample(guider, {"samples": torch.zeros(2, 16, *clip.size)}, 0, "euler", "simple", 2)["samples"]

    with pytest.raises(ValueError, match="The latent holds 2 videos; windows take one at a time"):
        sample_two(type(inputs)(frames=6))
    short = type(inputs)(frames=5)
    assert sample_two(short).shape == (2, 16, *short.size)
