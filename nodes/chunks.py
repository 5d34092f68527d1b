"""A video as long as the dance, chunk after chunk, in one node from prompts to frames."""

from pathlib import Path

import folder_paths
from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker

from ..media.byte_size import GB
from ..media.disk_cache import DiskCache
from ..media.frame_files import SUFFIX
from ..steadydancer_core.long_video.chunked_video import Sources
from ..steadydancer_core.long_video.chunks import FRAMES, LATENTS, ChunkSettings, make_long_video
from ..steadydancer_core.sampling.timeline import draw_timeline, timeline
from .common import condition_inputs, sampling_inputs
from .common.chunk_inputs import colour_match_input, length_inputs
from .common.frames_video import FramesVideo, temp_folder
from .common.lora_names import lora_names
from .common.miniature_note import miniature_note
from .common.node_display import running_display
from .common.node_picture import show_picture_of_run
from .common.node_text import show_text
from .common.search_words import DANCE

ON_DISK = "frames_on_disk is on, so there are no images. Connect the video output instead, or turn frames_on_disk off."


def _sources() -> list[io.Input]:
    return [
        io.Model.Input("model", tooltip="SteadyDancer, with or without LoRAs."),
        *condition_inputs.prompt_inputs(),
        *condition_inputs.picture_inputs(),
    ]


def _store_inputs() -> list[io.Input]:
    return [
        io.Boolean.Input(
            "keep_chunks", default=True,
            tooltip="Keep finished chunks on disk. A stopped run, or one with more pose frames, then continues from "
            "them.",
        ),
        io.Int.Input(
            "chunks_gb", default=20, min=1, max=1 << 20,
            tooltip="Maximum size of the stored chunks in GB. The least recently used are deleted first. A chunk of "
            "81 frames at 480x832 takes 0.2 GB.",
        ),
        io.Boolean.Input(
            "tiled_vae", default=False,
            tooltip="Encode and decode in tiles. Needs less memory, takes longer, and the picture differs slightly.",
        ),
    ]  # fmt: skip


def _run_name_input() -> io.Input:
    return io.String.Input(
        "run_name", default="", optional=True,
        tooltip="Only needed where the report says that finished chunks are not kept because of another node on the "
        "model. With a name they are kept; change it whenever you change that node.",
    )  # fmt: skip


def _disk_input() -> io.Input:
    return io.Boolean.Input(
        "frames_on_disk", default=False, optional=True,
        tooltip="Keep the finished frames on disk instead of in memory, for videos of minutes. Connect video instead "
        "of frames. With keep_chunks they need no extra space.",
    )  # fmt: skip


def _start_inputs() -> list[io.Input]:
    return [
        io.Combo.Input(
            "continue_from", options=[FRAMES, LATENTS], default=FRAMES, optional=True,
            tooltip="What a chunk continues from. frames: the finished frames, encoded again. latents: those of the "
            "chunk before, for less drift; overlap must be 5 or more.",
        ),
        io.Image.Input(
            "transition_video", optional=True,
            tooltip="A finished clip to continue. The first chunk starts from its last frames, as many as overlap; the "
            "first poses belong to these frames. Photo and first pose stay the reference.",
        ),
    ]  # fmt: skip


class ChunkSampler(io.ComfyNode):
    """Prompts, photo and pose frames to the frames of the whole video."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerChunkSampler",
            display_name="SteadyDancer Sampler (any length)",
            category="SteadyDancer/long video",
            description=(
                "Samples a video of any length with the memory of one chunk. Each chunk continues from the last "
                "frames of the one before, with the same photo and first pose. Finished chunks are kept on disk."
            ),
            search_aliases=["continue video", "extend video", "longer than 81 frames", "resume", "sampler", *DANCE],
            inputs=[
                *_sources(), *sampling_inputs.run_inputs(), *condition_inputs.frame_size_inputs(),
                *length_inputs(), colour_match_input(), *_store_inputs(), _run_name_input(),
                *condition_inputs.pose_inputs(), _disk_input(), *_start_inputs(),
            ],
            hidden=[io.Hidden.prompt, io.Hidden.unique_id],
            outputs=[
                io.Image.Output(
                    id="frames", display_name="frames",
                    tooltip="The whole video, decoded. Nothing if frames_on_disk is on.",
                ),
                io.String.Output(
                    id="seam_report", display_name="seam_report",
                    tooltip="What was sampled, and how visible each seam between two chunks is.",
                ),
                io.Video.Output(
                    id="video", display_name="video",
                    tooltip="The same frames as video, read frame by frame: for Exact First Frame, Trim Lead-in, Seam "
                    "Report and Video Combine (SteadyDancer).",
                ),
            ],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, model, positive, negative, vae, photo, seed, width, height, chunk_length, overlap, colour_match,
        keep_chunks, chunks_gb, tiled_vae, preset=None, clip_vision=None, run_name="", frames_on_disk=False,
        continue_from=FRAMES, transition_video=None, **poses,
    ) -> io.NodeOutput:  # fmt: skip
        run = sampling_inputs.run_settings(preset)
        frames = condition_inputs.pose_sources("SteadyDancer Sampler (any length)", width, height, **poses)
        size, seams = (width, height), (chunk_length, overlap, colour_match, tiled_vae)
        lora_files = lora_names(cls.hidden.prompt, cls.hidden.unique_id) if cls.hidden else ()
        with running_display() as display:
            video = make_long_video(
                model, vae, clip_vision, Sources(positive, negative, photo, *frames, transition_video),
                ChunkSettings(run, seed, *size, *seams, run_name.strip(), lora_files, continue_from),
                DiskCache(chunk_folder(), SUFFIX, chunks_gb * GB if keep_chunks else 0),
                display, temp_folder() if frames_on_disk else None,
            )  # fmt: skip
        if video.logs:
            show_picture_of_run(draw_timeline(timeline(video.logs)))
        report = "\n".join([video.report, *miniature_note(model)])
        frames = ExecutionBlocker(ON_DISK) if frames_on_disk else video.frames
        return io.NodeOutput(frames, report, FramesVideo(video.frames), ui=show_text(report))


def chunk_folder() -> Path:
    """Return where finished chunks are kept: with the user's files, because ComfyUI empties its temp folder."""
    return Path(folder_paths.get_user_directory(), "steadydancer", "chunks")


NODES = [ChunkSampler]
