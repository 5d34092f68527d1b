"""Speed-ups of ComfyUI with SteadyDancer: caches that follow one condition, and torch.compile around the blocks."""

import pytest
import torch
from comfy_extras.nodes_easycache import EasyCacheNode, LazyCacheNode
from comfy_extras.nodes_torch_compile import skip_torch_compile_dict

from steadydancer_pack.steadydancer_core.sampling.guidance import PoseGuidance
from steadydancer_pack.steadydancer_core.sampling.guidance_patch import patch_model
from steadydancer_pack.steadydancer_core.sampling.run import make_guider, sample
from steadydancer_pack.tests.comfy.test_ecosystem import windowed
from steadydancer_pack.tests.comfy.test_sampling import ksampler
from steadydancer_pack.training.network import Size, build

STEPS = 20  # 40 passes for both prompts, 5 for the pose
SLOPE = 2.0


class Network:
    """Stands for the network: its answer changes slowly enough that EasyCache leaves out about every second step.

    calls: (timestep, cond_or_uncond) of every call that reached it.
    """

    def __init__(self):
        self.calls = []

    def __call__(self, x, timestep, context, clip_fea, time_dim_concat, transformer_options, **kwargs):
        self.calls.append((float(timestep.max()), list(transformer_options["cond_or_uncond"])))
        return SLOPE * x[:, :16] + kwargs["pose_latents"].mean(dim=(1, 2, 3, 4), keepdim=True)

    def passes(self):
        """Return the passes since the last time."""
        calls, self.calls = self.calls, []
        return sum(len(places) for _, places in calls)

    def by_step(self):
        """Return what each timestep asked for, a list for each call."""
        levels = dict.fromkeys(level for level, _ in self.calls)
        return [[places for at, places in self.calls if at == level] for level in levels]


@pytest.fixture
def network(golden_patcher, monkeypatch):
    network = Network()
    monkeypatch.setattr(golden_patcher.model.diffusion_model, "_forward", network)
    return network


def cached(model, node):
    return node.execute(model, 0.2, 0.15, 0.95, False).args[0]


def guided(model, conds, size, after=1.0, every=1):
    guider = make_guider(model, *conds, 5.0, PoseGuidance(1.0, 0.1, 0.4, every), skip_negative_after=after)
    sample(guider, {"samples": torch.zeros(1, 16, *size)}, 0, "euler", "simple", STEPS)
    return guider.log


@pytest.mark.parametrize("node", [EasyCacheNode, LazyCacheNode])
@pytest.mark.parametrize("every", [1, 2])
def test_a_cache_saves_as_much_as_with_the_stock_sampler(golden_patcher, network, conds, inputs, node, every):
    model, pose = cached(golden_patcher, node), PoseGuidance(1.0, 0.1, 0.4, every)
    ksampler(patch_model(model, conds[2], pose), conds, inputs, STEPS, "euler", "simple")
    stock = network.passes()
    assert stock < 40
    for after in (1.0, 0.5):
        log = guided(model, conds, inputs.size, after, every)
        found = network.passes()
        assert 0 < found <= 1.1 * stock
        assert log.passes == found


@pytest.mark.parametrize(("after", "outside"), [(1.0, [[1, 0]]), (0.5, [[0], [1]])])
def test_a_condition_that_is_not_computed_on_every_step_has_a_call_of_its_own(
    golden_patcher, network, conds, inputs, after, outside
):
    guided(golden_patcher, conds, inputs.size, after)
    late = outside if after == 1.0 else [[0]]
    assert network.by_step() == [outside] * 3 + [[*outside, [2]]] * 5 + [outside] * 2 + [late] * 10


def test_a_context_window_keeps_them_apart_too(golden_patcher, network, make_conds, inputs):
    long = type(inputs)(frames=9)
    guided(windowed(golden_patcher, 21, 8), make_conds(long), long.size)
    inside = network.by_step()[3]
    assert len(inside) >= 4 and inside == [[1, 0], [2]] * (len(inside) // 2)


def test_easycache_with_context_windows_is_refused_before_the_run(
    golden_patcher, network, make_conds, inputs, monkeypatch
):
    """ComfyUI's EasyCache knows a condition, not its window: it would reuse one window's result in the next."""
    long, pose = type(inputs)(frames=9), PoseGuidance(1.0, 0.1, 0.4)
    model, conds = windowed(cached(golden_patcher, EasyCacheNode), 21, 8), make_conds(long)
    for_ksampler = (
        model,
        patch_model(model, conds[2], pose),
        cached(windowed(patch_model(golden_patcher, conds[2], pose), 21, 8), EasyCacheNode),
    )
    message = "EasyCache and context windows are both on.*LazyCache"
    with monkeypatch.context() as patch, pytest.raises(ValueError, match=message):
        patch.setattr("comfy.sampler_helpers.prepare_sampling", lambda *args, **kwargs: pytest.fail("model loaded"))
        guided(model, conds, long.size)
    for stock in for_ksampler:
        with pytest.raises(ValueError, match=message):
            ksampler(stock, conds, long, 2, "euler", "simple")
    assert network.calls == []
    lazy = windowed(cached(patch_model(golden_patcher, conds[2], pose), LazyCacheNode), 21, 8)
    assert ksampler(lazy, conds, long, 2, "euler", "simple").isfinite().all() and network.passes()
    guided(model, make_conds(inputs), inputs.size)  # 3 latent frames lie in one window
    assert network.calls


def test_the_model_patch_leaves_the_places_of_positive_and_negative_alone(golden_patcher, network, conds, inputs):
    patched = patch_model(golden_patcher, conds[2], PoseGuidance(1.0, 0.1, 0.4))
    ksampler(patched, conds, inputs, STEPS, "euler", "simple")
    assert network.by_step() == [[[1, 0]]] * 3 + [[[1, 0], [2]]] * 5 + [[[1, 0]]] * 12


class BrokenBlock(torch.nn.Module):
    """Stands for a block whose attention breaks the compiled graph, as sub-quadratic attention does."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(128))

    def forward(self, x, e, freqs, context, context_img_len, transformer_options):
        torch._dynamo.graph_break()
        return x + self.weight * context[:, :context_img_len].mean()


@torch.inference_mode()
def test_compiled_blocks_are_compiled_once_where_attention_breaks_the_graph():
    """With blocks compiled one by one, more of them than torch's recompile limit of 8 still run compiled."""
    model, shape = build(Size(128, 128, 0, 64), pose=True), (1, 2, 2)
    model.blocks.extend(BrokenBlock() for _ in range(12))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    tokens, timestep = torch.randn(1, 128, *shape), torch.full((1,), 500.0)
    context, freqs = torch.randn(1, 12, 128), model.rope_encode(1, 4, 4, dtype=torch.float32)

    def run(blocks):
        return blocks(tokens, lambda: tokens, timestep, context, 4, freqs, {})

    torch._dynamo.reset()
    filtered = {"guard_filter_fn": skip_torch_compile_dict}
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        compiled = run(torch.compile(model.run_blocks, backend="eager", options=filtered))
    assert torch.equal(compiled, run(model.run_blocks))
