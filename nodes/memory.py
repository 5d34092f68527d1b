"""Memory: fewer weights on the device, and whether a run fits before it starts."""

from comfy_api.latest import io

from ..steadydancer_core.memory.fit import fit_report
from ..steadydancer_core.memory.residency import swap_blocks
from .common.node_text import show_text

CATEGORY = "SteadyDancer/memory"


class BlocksToSwap(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerBlocksToSwap",
            display_name="Blocks to Swap",
            category=CATEGORY,
            description=(
                "Keeps the bytes of some blocks off the device, so that longer or larger videos fit beside the rest. "
                "ComfyUI streams them in while it computes; the result stays the same."
            ),
            search_aliases=["block swap", "offload", "low vram", "out of memory"],
            inputs=[
                io.Model.Input("model", tooltip="SteadyDancer from any loader, GGUF included."),
                io.Int.Input(
                    "blocks_to_swap", default=20, min=0, max=100,
                    tooltip="How many blocks' worth of weights to keep off the device, of 40 in SteadyDancer-14B: 0.8 "
                    "GB each in fp16, half of it in fp8. 0 lets ComfyUI decide.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The same model with this limit.")],
        )  # fmt: skip

    @classmethod
    def execute(cls, model, blocks_to_swap: int) -> io.NodeOutput:
        return io.NodeOutput(swap_blocks(model, blocks_to_swap))


class FitReport(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerFitReport",
            display_name="Fit Report",
            category=CATEGORY,
            description=(
                "Tells before sampling whether model and video fit the device, what will be streamed, and which "
                "blocks_to_swap to choose. It computes sizes only and takes no time."
            ),
            search_aliases=["vram", "memory estimate", "out of memory", "block swap"],
            is_output_node=True,
            inputs=[
                io.Model.Input("model", tooltip="SteadyDancer, with blocks_to_swap if you have set it."),
                io.Latent.Input("latent", tooltip="From Reconcile Conditions: size and length of the video."),
                io.Vae.Input("vae", optional=True, tooltip="Counts VAE Decode too, when connected."),
            ],
            outputs=[
                io.Model.Output(id="model_out", display_name="model", tooltip="The model as it came."),
                io.String.Output(display_name="report", tooltip="The report as text."),
                io.Int.Output(
                    display_name="blocks_to_swap",
                    tooltip="The smallest number that fits; 0 when all fits. All blocks when not even that is enough.",
                ),
            ],
        )  # fmt: skip

    @classmethod
    def execute(cls, model, latent: dict, vae=None) -> io.NodeOutput:
        report, blocks = fit_report(model, latent["samples"].shape, vae=vae)
        return io.NodeOutput(model, report, blocks, ui=show_text(report))


NODES = [BlocksToSwap, FitReport]
