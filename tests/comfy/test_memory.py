"""Whether a run fits: the verdict from plain numbers, the facts that ComfyUI gives, and what an error says."""

import logging
from dataclasses import replace
from types import SimpleNamespace

import comfy.model_management
import pytest
import torch

from steadydancer_pack.benchmarks.memory import LiveBytes, arguments, make_model, run_pass
from steadydancer_pack.media.byte_size import GB
from steadydancer_pack.nodes.memory import BlocksToSwap, FitReport
from steadydancer_pack.steadydancer_core.long_video.windows import apply_windows
from steadydancer_pack.steadydancer_core.memory import fit, residency
from steadydancer_pack.steadydancer_core.memory.fit import (
    check_before_sampling,
    explain_out_of_memory,
    fit_report,
    gather,
)
from steadydancer_pack.steadydancer_core.memory.vram_report import Facts, Fit, describe, judge
from steadydancer_pack.steadydancer_core.model.memory_estimate import (
    WHOLE_CLIP_CHANNELS,
    activation_bytes,
    usage_factor,
)

META = torch.device("meta")
# 40 blocks of 0.5 GB, 1 GB of other weights, 3 GB for a branch: 24.5 GB to be had of 25, of which 0.5 are reserved.
WEIGHTS = {"model": 21 * GB, "blocks": 20 * GB, "count": 40, "swap": 0, "buffer": GB // 4}
CARD = {"device": "cuda:0", "free": 49 * GB // 2, "total": 25 * GB, "reserve": GB // 2}
ALL_FITS = Facts(**WEIGHTS, **CARD, branch=3 * GB, branches=3)
TIGHT = replace(ALL_FITS, free=16 * GB)  # 12.5 GB for weights: 17 blocks have to go
TOO_SMALL = replace(ALL_FITS, free=4 * GB)  # 0.5 GB for weights, and 1 GB are in no block


def test_everything_fits_and_a_higher_number_leaves_memory_for_two_branches_at_a_time():
    assert judge(ALL_FITS) == Fit(swap=0, resident=21 * GB, streamed=0, together=1, missing=0)
    assert describe(ALL_FITS).endswith("Fits whole: leave blocks_to_swap at 0.")
    found = [judge(replace(ALL_FITS, swap=swap)).together for swap in (0, 20, 30)]
    assert found == [1, 2, 2]  # 3, 13.25 and 18.25 GB are left; a batch needs 4.5 GB per branch and holds two


def test_the_smallest_number_that_fits_is_proposed_and_the_one_that_is_set_is_judged():
    fit = judge(TIGHT)
    assert fit.swap == 17
    assert TIGHT.left(17) == TIGHT.branch > TIGHT.left(16)
    assert (fit.resident, fit.streamed) == (49 * GB // 4, 35 * GB // 4)  # as ComfyUI streams by itself, 0.25 GB buffer
    assert describe(TIGHT).endswith("ComfyUI streams weights by itself, or set blocks_to_swap to 17.")
    ends = {
        17: "Fits with blocks_to_swap 17; 17 would be enough.",
        40: "40; 17 would be enough.",
        5: "Fits with blocks_to_swap 17; 5 is not enough, so ComfyUI streams more by itself.",
    }
    assert all(describe(replace(TIGHT, swap=swap)).endswith(end) for swap, end in ends.items())


def test_the_buffer_is_needed_when_nothing_stays():
    bare = replace(ALL_FITS, model=20 * GB, swap=40)
    assert bare.weights(40) == bare.buffer
    assert judge(bare).resident == 0


def test_what_cannot_fit_says_how_much_is_missing_and_what_to_lower():
    fit = judge(TOO_SMALL)
    assert (fit.swap, fit.missing, fit.resident) == (None, GB // 2, GB // 4)
    text = describe(TOO_SMALL)
    assert "Does not fit even with blocks_to_swap 40: 500 MB are missing. Lower, in this order: 1. width" in text


def test_what_a_clip_and_the_decoder_take_is_counted_when_it_is_known():
    windowed = replace(ALL_FITS, clip=4 * GB)
    assert (judge(ALL_FITS).swap, judge(windowed).swap) == (0, 8)
    assert "Whole clip: 4 GB beside the window; it grows with the length.\n" in describe(windowed)
    assert "Whole clip" not in describe(ALL_FITS)
    assert "VAE Decode" not in describe(ALL_FITS)
    assert "VAE Decode: 2 GB after sampling.\n" in describe(replace(ALL_FITS, decode=2 * GB))
    assert "use 'VAE Decode (Tiled)'" in describe(replace(ALL_FITS, decode=25 * GB))


def test_a_device_without_streaming_needs_room_for_activations_only():
    cpu = replace(TIGHT, free=4 * GB, streams=False)
    assert judge(cpu) == Fit(swap=0, resident=21 * GB, streamed=0, together=1, missing=0)
    assert "blocks_to_swap changes nothing" in describe(cpu)
    assert judge(replace(cpu, free=3 * GB)).missing == GB // 2


def test_activations_of_the_14b_model():
    """Two reference frames join the 21; a third of a gigabyte per hidden tensor at 480x832x81."""
    one = activation_bytes((1, 16, 21, 60, 104), 5120, 13824, itemsize=2)
    assert one == pytest.approx(35880 * (4.25 * 5120 + 2 * 13824) * 2, rel=1e-6)
    assert activation_bytes((3, 16, 21, 60, 104), 5120, 13824, 2) == pytest.approx(3 * one, rel=1e-6)
    assert usage_factor(5120, 13824) == pytest.approx(1.18, abs=0.005)


@pytest.mark.parametrize("branches", [1, 3])
@pytest.mark.parametrize("size", [(21, 60, 104), (21, 72, 128)], ids=["480x832x81", "576x1024x81"])
def test_the_estimate_is_within_15_percent_of_a_pass_of_the_14b_model(size, branches):
    """Tensors without contents: what is alive at each moment of the real forward is counted, nothing is computed."""
    widths = {"dim": 5120, "ffn_dim": 13824}
    net = make_model(**widths, dtype=torch.float16, device="meta")
    live = run_pass(net, arguments(branches, size, torch.float16, "meta"))
    estimate = activation_bytes((branches, 16, *size), **widths, itemsize=2)
    assert 1.0 <= estimate / live.peak <= 1.15


def test_live_bytes_of_a_chain_of_three():
    """At the second operation its input and output are alive, at the third as well; a view costs nothing."""
    with LiveBytes() as live:
        x = torch.empty(256, dtype=torch.float32)
        x = x.view(16, 16).exp()
        x = x.sum(dim=0)
    assert (live.peak, live.live) == (2048, 64)


@pytest.fixture
def on_gpu(golden_patcher, monkeypatch):
    """Return a function from free GB to the golden model on a device of that size; `meta` plays the device."""

    def place(free, patcher=golden_patcher):
        management = comfy.model_management
        monkeypatch.setattr(management, "vram_state", management.VRAMState.NORMAL_VRAM)
        monkeypatch.setattr(management, "get_free_memory", lambda device: int(free * GB))
        monkeypatch.setattr(management, "get_total_memory", lambda device: 24 * GB)
        monkeypatch.setattr(management, "pytorch_attention_flash_attention", lambda: True)
        placed = patcher.clone()
        placed.load_device = META
        return placed

    return place


def test_the_latents_of_the_whole_clip_count_where_it_is_sampled_in_windows(on_gpu):
    model = on_gpu(12)
    shape = (1, 16, 241, 72, 128)  # a minute at 1024x576
    assert gather(model, shape).clip == 0
    assert gather(apply_windows(model, 81, 16), shape).clip == 241 * 72 * 128 * WHOLE_CLIP_CHANNELS * 4
    assert gather(apply_windows(model, 81, 16), (1, 16, 21, 72, 128)).clip == 0


def test_a_model_whose_patcher_died_is_passed_over(on_gpu, monkeypatch):
    model = on_gpu(12)
    loaded = [SimpleNamespace(load_device=META, loaded_size=lambda: GB), None]
    monkeypatch.setattr(comfy.model_management, "loaded_models", lambda: loaded)
    assert fit.reachable_memory(model.load_device) == 13 * GB


def test_the_facts_come_from_comfyui_which_plans_with_the_same_estimate(on_gpu):
    model = residency.swap_blocks(on_gpu(12), 1)
    shape = (2, 16, 3, 8, 6)
    facts = gather(model, shape, branches=2)
    net = model.model
    assert (facts.model, facts.count, facts.swap, facts.branches) == (model.model_size(), 2, 1, 2)
    assert facts.blocks == sum(map(comfy.model_management.module_size, net.diffusion_model.blocks))
    assert facts.buffer == 4 * (256 * 512 + 512) * (1 + comfy.model_management.NUM_STREAMS)  # ffn in float32
    assert (facts.free, facts.total, facts.streams) == (12 * GB, 24 * GB, True)
    conds = {"ref_x": [[1, 36, 1, 8, 6]] * 2, "ref_c": [[1, 16, 1, 8, 6]] * 2}
    assert (
        facts.branch == int(net.memory_required([*shape], conds)) == activation_bytes(shape, 256, 512, itemsize=4) > 0
    )


def test_weights_that_comfyui_can_move_count_as_free(on_gpu, monkeypatch):
    model = on_gpu(1)
    before = gather(model, (1, 16, 3, 8, 6)).free
    model.model.model_loaded_weight_memory, kept = 1000, model.model.model_loaded_weight_memory
    monkeypatch.setattr(comfy.model_management, "loaded_models", lambda: [model])
    assert gather(model, (1, 16, 3, 8, 6)).free == before + 1000
    model.model.model_loaded_weight_memory = kept


def test_one_window_counts_where_the_model_samples_in_windows(on_gpu):
    model = on_gpu(12)
    whole, part = (gather(model, (1, 16, frames, 8, 6)).branch for frames in (81, 22))
    windowed = apply_windows(model, 81, 16)
    assert gather(windowed, (1, 16, 81, 8, 6)).branch == part < whole  # 21, and the frame before them
    assert gather(windowed, (1, 16, 3, 8, 6)).branch == gather(model, (1, 16, 3, 8, 6)).branch


def test_on_the_cpu_activations_are_those_of_memory_saving_attention(golden_patcher):
    facts = gather(golden_patcher, (1, 16, 3, 8, 6))
    assert facts.branch == activation_bytes((1, 16, 3, 8, 6), 256, 512, 4) and not facts.streams


def test_a_run_that_cannot_fit_warns_before_sampling(on_gpu, caplog):
    caplog.set_level(logging.INFO)
    for free in (12, 0.1):
        check_before_sampling(on_gpu(free), (1, 16, 21, 60, 104))
    fits, warns = (r for r in caplog.records if r.message.startswith("SteadyDancer: Memory on meta: "))
    assert fits.levelno == logging.INFO and "Fits whole" in fits.message
    assert warns.levelno == logging.WARNING and "Does not fit even with blocks_to_swap 2" in warns.message


def test_another_latent_or_model_is_refused(golden_patcher):
    with pytest.raises(ValueError, match="a video's has batch, 16 channels, frames, height"):
        fit_report(golden_patcher, (1, 4, 64, 64))
    other = comfy.model_patcher.ModelPatcher(torch.nn.Linear(1, 1), torch.device("cpu"), torch.device("cpu"))
    with pytest.raises(ValueError, match="is Linear, not SteadyDancer"):
        check_before_sampling(other, (1, 16, 3, 8, 6))


def test_the_nodes(golden_patcher):
    (swapped,) = BlocksToSwap.execute(golden_patcher, 2).result
    assert residency.blocks_to_swap(swapped) == 2
    vae = type("Vae", (), {"memory_used_decode": lambda self, shape, dtype: 5 * GB, "vae_dtype": torch.float32})()
    output = FitReport.execute(swapped, {"samples": torch.zeros(1, 16, 3, 8, 6)}, vae)
    model, report, blocks = output.result
    assert model is swapped and blocks == 0
    assert report.splitlines()[0].startswith("Weights: 18.7 MB in 2 blocks; with blocks_to_swap 2 ")
    assert "VAE Decode: 5 GB" in report
    assert output.ui.as_dict()["text"] == (report,)


OUT_OF_MEMORY = torch.OutOfMemoryError(
    "CUDA out of memory. Tried to allocate 946.00 MiB. GPU 0 has a total capacity of 23.64 GiB.\nSee documentation"
)
CUDA = "SteadyDancer ran out of memory on the GPU"


def test_an_out_of_memory_error_keeps_its_type_is_explained_once_and_gathers_advice():
    kept = explain_out_of_memory("Chunk 2 is kept.")
    with pytest.raises(comfy.model_management.OOM_EXCEPTION) as caught, kept, explain_out_of_memory():
        raise OUT_OF_MEMORY
    text = str(caught.value)
    allocation = "(CUDA out of memory. Tried to allocate 946.00 MiB)"
    assert text.startswith(f"{CUDA} {allocation}. Lower, in this order: 1. width and height; 2. the length")
    assert text.endswith("5. the decoder's need, with 'VAE Decode (Tiled)'. Chunk 2 is kept.")
    assert text.count(fit.EXPLAINED) == 1 and comfy.model_management.is_oom(caught.value)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (torch.OutOfMemoryError("Out of memory.\nSee"), f"{CUDA} (Out of memory). Lower, in this order"),
        (torch.OutOfMemoryError(""), f"{CUDA}. Lower, in this order"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "ran out of memory on the CPU"),
        (torch.AcceleratorError("CUDA error: out of memory"), "ran out of memory on the GPU"),
    ],
)
def test_other_ways_to_run_out_of_memory_are_explained_too(error, told):
    with pytest.raises(type(error)) as caught, explain_out_of_memory():
        raise error
    assert told in str(caught.value) and caught.value.__cause__ is error


@pytest.mark.parametrize("error", [ValueError("a"), RuntimeError("shapes"), KeyboardInterrupt()])
def test_other_errors_pass(error):
    with pytest.raises(type(error)) as caught, explain_out_of_memory("never"):
        raise error
    assert caught.value is error
