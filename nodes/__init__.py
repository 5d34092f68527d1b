"""The nodes of SteadyDancer, one file per stage from photo to video."""

from comfy_api.latest import ComfyExtension, io

from ..steadydancer_core.weights import detection
from . import (
    animate,
    chunk_parts,
    chunks,
    conditioning,
    control,
    convert,
    doctor,
    evaluate,
    fingerprint,
    finish,
    first_frame,
    frame_prompt,
    memory,
    miniature,
    model,
    pose_align,
    pose_detector,
    pose_edit,
    pose_extract,
    pose_files,
    pose_motion,
    pose_turns,
    prompt,
    sampling,
    video,
    windows,
)

STAGES = (
    pose_detector, pose_extract, pose_motion, pose_turns, pose_align, pose_edit, animate, pose_files,
    model, convert, memory, windows, prompt, frame_prompt, conditioning, sampling, control, chunks, chunk_parts,
    first_frame, video, finish, evaluate, miniature, doctor, fingerprint,
)  # fmt: skip


class SteadyDancerExtension(ComfyExtension):
    """The only list of nodes."""

    async def on_load(self) -> None:
        detection.register()
        prompt.register_folder()
        pose_detector.register_folders()
        evaluate.register_folders()
        miniature.register_folders()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [node for stage in STAGES for node in stage.NODES]
