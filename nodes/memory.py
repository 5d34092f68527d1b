"""Memory: fewer weights on the device, and whether a run fits before it starts."""

from comfy_api.latest import io

from ..steadydancer_core.memory.fit import fit_report
from ..steadydancer_core.memory.residency import swap_blocks
from .common.node_text import show_text
from .common.page_words import in_page_language

CATEGORY = "SteadyDancer/memory"


class BlocksToSwap(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerBlocksToSwap",
            display_name="Blocks to Swap",
            category=CATEGORY,
            description=(
                "Keeps some of the model's blocks in system RAM, so that longer or larger videos fit in VRAM. ComfyUI "
                "streams them in while it computes. The result is the same."
            ),
            search_aliases=["block swap", "offload", "low vram", "out of memory"],
            inputs=[
                io.Model.Input("model", tooltip="SteadyDancer from any loader, GGUF included."),
                io.Int.Input(
                    "blocks_to_swap",
                    default=20,
                    min=0,
                    max=100,
                    tooltip="How many of the 40 blocks of SteadyDancer-14B stay in system RAM: 0.8 GB each in fp16, "
                    "half that in fp8. 0 = automatic. Raise it if VRAM runs out.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The same model with this limit.")],
        )

    @classmethod
    def execute(cls, model, blocks_to_swap: int) -> io.NodeOutput:
        return io.NodeOutput(swap_blocks(model, blocks_to_swap))


class FitReport(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerFitReport",
            display_name="VRAM Check",
            category=CATEGORY,
            description=(
                "Checks before sampling whether model and video fit in VRAM, what will be streamed, and which "
                "blocks_to_swap to use. It only computes sizes and takes no time."
            ),
            search_aliases=["vram", "memory estimate", "out of memory", "block swap"],
            is_output_node=True,
            inputs=[
                io.Model.Input("model", tooltip="SteadyDancer, after Blocks to Swap if you use it."),
                io.Latent.Input("latent", tooltip="From Reconcile Conditions: size and length of the video."),
                io.Vae.Input("vae", optional=True, tooltip="Connect it to include VAE Decode."),
            ],
            outputs=[
                io.Model.Output(id="model_out", display_name="model", tooltip="The model, unchanged."),
                io.String.Output(display_name="report", tooltip="The report as text."),
                io.Int.Output(
                    display_name="blocks_to_swap",
                    tooltip="The smallest number that fits. 0 if everything fits; all blocks if even that is not "
                    "enough.",
                ),
            ],
        )

    @classmethod
    def execute(cls, model, latent: dict, vae=None) -> io.NodeOutput:
        report, blocks = fit_report(model, latent["samples"].shape, vae=vae)
        return io.NodeOutput(model, report, blocks, ui=show_text(in_page_language(report)))


NODES = [BlocksToSwap, FitReport]
