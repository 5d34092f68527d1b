"""Speed-ups of ComfyUI with SteadyDancer: torch.compile around the blocks."""

import torch
from comfy_extras.nodes_torch_compile import skip_torch_compile_dict

from steadydancer_pack.training.network import Size, build


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
