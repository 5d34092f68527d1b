"""The long video's loop over chunks in parts, with any guider, sampler, schedule and noise between them."""

from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker

from ..steadydancer_core.long_video.chunked_video import Sources, VideoSettings, plan_video
from ..steadydancer_core.long_video.open_chunk import open_chunk
from ..steadydancer_core.memory.fit import explain_out_of_memory
from ..steadydancer_core.sampling.run import SeededNoise
from .common import chunk_inputs, condition_inputs, sampling_inputs
from .common.node_display import running_display
from .common.node_text import show_text
from .common.prompt_links import nearest_nodes

CATEGORY = "SteadyDancer/long video"
PLAN, NEXT, JOIN = "SteadyDancerPlanChunks", "SteadyDancerNextChunk", "SteadyDancerJoinChunks"
ChunkPlan = io.Custom("STEADYDANCER_CHUNK_PLAN")  # see steadydancer_core/long_video/chunked_video.py
Chunk = io.Custom("STEADYDANCER_CHUNK")  # see steadydancer_core/long_video/open_chunk.py


class PlanChunks(io.ComfyNode):
    """All that the chunks of one video share to the plan of them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=PLAN,
            display_name="Plan Chunks",
            category=CATEGORY,
            description=(
                "Plans a video of any length in chunks: photo, poses, prompts, size and seed for all of them. Connect "
                "the plan to one Next Chunk per chunk."
            ),
            search_aliases=["long video", "chunk loop", "open chunk sampling", "extend video", "for loop"],
            inputs=[
                *condition_inputs.prompt_inputs(), *condition_inputs.picture_inputs(), sampling_inputs.seed_input(),
                *condition_inputs.frame_size_inputs(), *chunk_inputs.length_inputs(),
                io.Boolean.Input(
                    "tiled_vae", default=False,
                    tooltip="Encode in tiles. Needs less memory, takes longer, and the picture differs slightly.",
                ),
                *condition_inputs.pose_inputs(),
            ],
            outputs=[
                ChunkPlan.Output(id="plan", display_name="plan", tooltip="For every Next Chunk of this video."),
                io.Int.Output(id="count", display_name="count", tooltip="Number of chunks, for a loop."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, positive, negative, vae, photo, seed, width, height, chunk_length, overlap, tiled_vae, clip_vision=None,
        **poses,
    ) -> io.NodeOutput:  # fmt: skip
        frames = condition_inputs.pose_sources("Plan Chunks", width, height, **poses)
        settings = VideoSettings(seed, width, height, chunk_length, overlap, tiled_vae)
        notes: list[str] = []
        with explain_out_of_memory():
            plan = plan_video(vae, clip_vision, Sources(positive, negative, photo, *frames), settings, notes)
        return io.NodeOutput(plan, len(plan.chunks), ui=show_text("\n".join([plan.describe(), *notes])))


class NextChunk(io.ComfyNode):
    """The video so far to what its next chunk is sampled from."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=NEXT,
            display_name="Next Chunk",
            category=CATEGORY,
            description=(
                "Gives what the next chunk of a long video is sampled from, with a guider and sampler of your choice. "
                "Decode the result and connect it to Join Chunks."
            ),
            search_aliases=["continue video", "extend video", "long video", "chunk loop", "last frames"],
            inputs=[
                ChunkPlan.Input("plan", tooltip="From Plan Chunks, the same for all chunks of the video."),
                io.Image.Input(
                    "video", optional=True,
                    tooltip="The video so far, from Join Chunks of the chunk before. Unconnected: the first chunk.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(
                    id="positive", display_name="positive", tooltip="Prompt and pose, for SteadyDancer Guider."
                ),
                io.Conditioning.Output(id="negative", display_name="negative", tooltip="Negative prompt and pose."),
                io.Conditioning.Output(
                    id="pose_negative", display_name="pose_negative",
                    tooltip="Prompt and distorted pose. Empty if no pose-negative is connected to Plan Chunks.",
                ),
                io.Latent.Output(id="latent", display_name="latent", tooltip="Empty latent of the chunk's size."),
                io.Noise.Output(
                    id="noise", display_name="noise", tooltip="The chunk's own noise, for SamplerCustomAdvanced."
                ),
                io.Int.Output(
                    id="seed", display_name="seed",
                    tooltip="The seed of that noise, for SteadyDancer Sampler or KSampler.",
                ),
                Chunk.Output(id="chunk", display_name="chunk", tooltip="For Join Chunks."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(cls, plan, video=None) -> io.NodeOutput:
        chunk = open_chunk(plan, video)
        if chunk.chunk is None:
            text = f"The video is complete: {plan.shape[0]} frames. Nothing is sampled here."
            return io.NodeOutput(*[ExecutionBlocker(None)] * 6, chunk, ui=show_text(text))
        with running_display() as display, explain_out_of_memory():
            inputs = plan.inputs(chunk.chunk, chunk.before, display)
        seed, (number, first, frames, _) = plan.seed_of(chunk.chunk), chunk.chunk
        text = f"Chunk {number + 1} of {len(plan.chunks)}: frames {first} to {first + frames - 1}"
        return io.NodeOutput(*inputs, SeededNoise(seed), seed, chunk, ui=show_text(text))


class JoinChunks(io.ComfyNode):
    """The video so far and the frames of its next chunk to the video with that chunk."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=JOIN,
            display_name="Join Chunks",
            category=CATEGORY,
            description=(
                "Adds the decoded frames of a chunk to the video so far: colors are matched and the overlap is "
                "cross-faded. If the video was complete, it passes it on and nothing is sampled."
            ),
            search_aliases=["concatenate video", "merge chunks", "cross fade", "long video", "color match"],
            inputs=[
                Chunk.Input("chunk", tooltip="From the Next Chunk that these frames were sampled with."),
                io.Image.Input("frames", lazy=True, tooltip="The frames of this chunk, from VAE Decode, all of them."),
                chunk_inputs.colour_match_input(),
            ],
            hidden=[io.Hidden.prompt, io.Hidden.unique_id],
            outputs=[
                io.Image.Output(
                    id="video", display_name="video", tooltip="The video so far, for the next Next Chunk or to save."
                ),
                io.Boolean.Output(id="finished", display_name="finished", tooltip="Whether the video is complete."),
                io.String.Output(
                    id="seam_report", display_name="seam_report",
                    tooltip="How far the video has come, and how visible each seam between two chunks is.",
                ),
            ],
        )  # fmt: skip

    @classmethod
    def check_lazy_status(cls, chunk, frames=None, colour_match=1.0) -> list[str]:
        return [] if chunk.chunk is None else ["frames"]

    @classmethod
    def execute(cls, chunk, frames=None, colour_match=1.0) -> io.NodeOutput:
        if chunk.chunk is not None and cls.hidden:
            check_links(cls.hidden.prompt, cls.hidden.unique_id)
        video = chunk.join(frames, colour_match)
        text = chunk.report(video)
        return io.NodeOutput(video, len(video) == chunk.video.shape[0], text, ui=show_text(text))


def check_links(prompt: dict | None, node_id: str) -> None:
    """Raise ValueError if the frames of a Join Chunks were sampled with another Next Chunk than its chunk is from."""
    found = nearest_nodes(prompt, node_id, "frames", (NEXT, JOIN))
    others = found - nearest_nodes(prompt, node_id, "chunk", (NEXT,))
    if prompt and any(prompt[node]["class_type"] == NEXT for node in others):
        raise ValueError(
            "The frames connected to 'Join Chunks' were sampled with another 'Next Chunk' than its chunk comes from. "
            "Connect guider, noise, latent and chunk of one chunk to the same 'Next Chunk'."
        )


NODES = [PlanChunks, NextChunk, JoinChunks]
