"""Make a photo dance in a real ComfyUI on the CPU: run by `nox -s demo -- --help`.

Queues a shipped workflow through the server's API, with the bundled sample or with your own photo and driving video
(or ready pose frames), and writes an MP4 and a contact sheet. The model is the miniature, which knows drawn characters
of 96x96 pixels and nothing else: with your own files everything runs, but the picture is of no use.
"""

import argparse
import json
import re
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from av.error import FFmpegError

from steadydancer_pack.comfy_client.api_prompt import to_api_prompt
from steadydancer_pack.comfy_client.client import ComfyClient
from steadydancer_pack.comfy_client.comfyui_places import find_comfyui
from steadydancer_pack.comfy_client.in_process import PACK
from steadydancer_pack.comfy_client.process import ComfyProcess, StartFailed
from steadydancer_pack.comfy_client.program import exit_status
from steadydancer_pack.comfy_client.prompt_edit import drop, find, set_custom, set_inputs, with_loaders
from steadydancer_pack.comfy_client.prompt_run import PromptFailed, PromptInterrupted, saved_file
from steadydancer_pack.media.clips import frame_rate, pack_video, read_photo
from steadydancer_pack.media.frame_size import MIN_FRAMES, default_size
from steadydancer_pack.miniature import write_all

from .demo_report import ProgressLines, Stopwatch, keep_results, write_metrics
from .templates.names import READY_SKELETONS, STAGE_BY_STAGE

WORKFLOWS = PACK / "workflows"
DANCE, READY_POSES = WORKFLOWS / f"{STAGE_BY_STAGE}.json", WORKFLOWS / f"{READY_SKELETONS}.json"
VIDEO_NODE, DRAW, ENLARGE = "SteadyDancerVideoCombine", "SteadyDancerDrawPoses", "ImageScaleBy"
POSE_VIDEO = "pose_video"  # id of the node that the demo adds to see the pose frames
ERRORS = (ValueError, OSError, FFmpegError, StartFailed, PromptFailed, PromptInterrupted)
OWN_FILES_AREA = 256 * 144
OWN_FILES_FRAMES = 17
SAMPLE_PHOTO = "steadydancer_sample.png"
SAMPLE_DANCE = "steadydancer_sample_dance.mp4"
SAMPLE_NOTE = "The miniature knows drawn characters of 96x96 pixels; the video shows its sample, enlarged four times."
OWN_FILES_NOTE = (
    "The miniature knows drawn characters of 96x96 pixels and nothing else: with your own files this video shows that "
    "everything runs, not what SteadyDancer can do. For that load the 14B files in ComfyUI."
)


@dataclass
class Material:
    """The files of one run: a driving video or ready poses; `overrides`: whether they replace the workflow's own."""

    photo: Path
    driving: Path
    frames: int | None
    overrides: bool
    ready_poses: bool = False
    pose_negative: Path | None = None


def main(arguments: list[str] | None = None) -> int:
    return exit_status(lambda: run(parse(arguments)), ERRORS)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="nox -s demo --", description=__doc__)
    skeletons = "skeleton drawings, as a video or a folder of JPEG or PNG pictures"
    parser.add_argument("--photo", type=Path, help="a picture of a person; needs --video or --pose-video")
    parser.add_argument("--video", type=Path, help="a video of somebody who dances; needs --photo")
    parser.add_argument("--pose-video", type=Path, help=f"{skeletons}; needs --photo")
    parser.add_argument("--pose-negative", type=Path, help="distorted skeletons likewise; without: no pose guidance")
    parser.add_argument("--frames", type=int, help=f"frames; {OWN_FILES_FRAMES} for own files, else the workflow's")
    parser.add_argument("--size", type=size, help="WIDTHxHEIGHT in steps of 16, or an area at the photo's aspect")
    parser.add_argument("--steps", type=int, help="sampling steps; the workflow's if not given")
    parser.add_argument("--seed", type=int, help="seed of the noise; the workflow's if not given")
    parser.add_argument("--output", type=Path, default=PACK / "output", help="folder for the results: %(default)s")
    options = parser.parse_args(arguments)
    if options.video and options.pose_video:
        parser.error("--video and --pose-video exclude each other: poses are found in a video, or they are ready.")
    if bool(options.photo) != bool(options.video or options.pose_video):
        parser.error("--photo goes together with --video or --pose-video.")
    if options.pose_negative and not options.pose_video:
        parser.error("--pose-negative needs --photo and --pose-video.")
    if options.frames is not None and options.frames < MIN_FRAMES:
        parser.error(f"--frames {options.frames} is too short; at least {MIN_FRAMES} frames are needed.")
    return options


def size(text: str) -> int | tuple[int, int]:
    """Return (width, height) of '256x144', or the area of '36864'."""
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text.lower())
    if not match:
        raise argparse.ArgumentTypeError(f"'{text}' is neither WIDTHxHEIGHT nor an area in pixels")
    return (int(match[1]), int(match[2])) if match[2] else int(match[1])


def run(options: argparse.Namespace) -> None:
    watch = Stopwatch()
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="steadydancer-demo-")))
        own = own_material(options, work) if options.photo else None
        server = ComfyProcess(find_comfyui(PACK), PACK)
        with watch.stage("start of ComfyUI"):
            stack.enter_context(server)
        with watch.stage("miniature files"):
            write_all(server.base / "models", server.base / "input")
        sample = server.base / "input"
        material = own or Material(sample / SAMPLE_PHOTO, sample / SAMPLE_DANCE, options.frames, False)
        prompt, workflow = edited_workflow(server.client, material, options)
        prompt_id = server.client.queue(prompt, workflow)
        report = server.client.wait(prompt_id, ProgressLines(prompt).on_event)
        watch.add_nodes(report.node_seconds, prompt)
        outputs = server.client.history(prompt_id)["outputs"]
        video = server.base.joinpath(*saved_file(outputs[find(prompt, VIDEO_NODE, "Video Combine (SteadyDancer)")]))
        if material.ready_poses:
            shown = {"pose": material.driving}
        else:
            poses = server.base.joinpath(*saved_file(outputs[POSE_VIDEO]))
            shown = {"driving video": material.driving, "pose": poses}
        with watch.stage("contact sheet"):
            results = keep_results(video, material.photo, shown, options.output)
    notes = [f"{prompt[node]['_meta']['title']}: {text}" for node in outputs for text in outputs[node].get("text", ())]
    notes.append(OWN_FILES_NOTE if options.photo else SAMPLE_NOTE)
    write_metrics(results, notes, report.previews, server.memory.peak, watch)


def own_material(options: argparse.Namespace, work: Path) -> Material:
    """Check the user's files and bring the poses into the form the loader takes, before anything costly starts."""
    read_photo(options.photo)
    wanted = options.frames or OWN_FILES_FRAMES
    if options.video:
        frame_rate(options.video)
        return Material(options.photo, options.video, wanted, True)
    pose, negative = work / "pose.mp4", work / "pose_negative.mp4"
    frames = pack_video(options.pose_video, pose, wanted)
    if frames < wanted:
        sys.stdout.write(f"{options.pose_video} has {frames} frames, fewer than the {wanted} wanted.\n")
    if not options.pose_negative:
        sys.stdout.write("No --pose-negative given: pose guidance is off (0).\n")
        return Material(options.photo, pose, frames, True, True)
    if pack_video(options.pose_negative, negative, frames) != frames:
        raise ValueError(f"{options.pose_negative} has fewer frames than {options.pose_video}; they go frame by frame.")
    return Material(options.photo, pose, frames, True, True, negative)


def edited_workflow(client: ComfyClient, material: Material, options: argparse.Namespace) -> tuple[dict, dict | None]:
    workflow = json.loads((READY_POSES if material.ready_poses else DANCE).read_text("utf-8"))
    if material.overrides:
        workflow = with_loaders(workflow)
    object_info = client.object_info()
    prompt = to_api_prompt(workflow, object_info)
    untouched = json.dumps(prompt)
    if material.overrides:
        replace_files(prompt, client, material, object_info)
    chosen = options.size or (OWN_FILES_AREA if material.overrides else None)
    if isinstance(chosen, int):
        chosen = default_size(*read_photo(material.photo).size, chosen)
    width, height = chosen or (None, None)  # None keeps the workflow's
    size = {"width": width, "height": height}
    set_inputs(prompt, find(prompt, "SteadyDancerReconcileConditions"), **size, length=material.frames)
    sampler = find(prompt, "SteadyDancerSampler")
    set_inputs(prompt, sampler, seed=options.seed)
    set_custom(prompt, sampler, steps=options.steps)
    if not material.ready_poses:
        set_inputs(prompt, find(prompt, DRAW), **size)
        set_inputs(prompt, find(prompt, "SteadyDancerExtractPoses", "Poses of the video"), max_frames=material.frames)
    changed = json.dumps(prompt) != untouched
    if not material.ready_poses:
        add_pose_video(prompt)
    return prompt, None if changed else workflow


def add_pose_video(prompt: dict) -> None:
    """Let the pose frames be written too, as they are, into the temp folder."""
    video = prompt[find(prompt, VIDEO_NODE, "Video Combine (SteadyDancer)")]
    inputs = video["inputs"] | {"images": [find(prompt, DRAW), 0], "crf": 0, "save_output": False}
    del inputs["audio"]
    prompt[POSE_VIDEO] = {**video, "inputs": inputs, "_meta": {"title": "Pose video"}}


def replace_files(prompt: dict, client: ComfyClient, material: Material, object_info: dict) -> None:
    set_inputs(prompt, find(prompt, "LoadImage"), image=client.upload(material.photo))
    set_inputs(prompt, find(prompt, ENLARGE), scale_by=1.0)
    if not material.ready_poses:
        set_inputs(prompt, find(prompt, "LoadVideo", "Driving video"), file=client.upload(material.driving))
        return
    set_inputs(prompt, find(prompt, "LoadVideo", "Pose video"), file=client.upload(material.driving))
    negative = find(prompt, "LoadVideo", "Pose-negative video")
    if material.pose_negative:
        set_inputs(prompt, negative, file=client.upload(material.pose_negative))
    else:
        drop(prompt, negative, object_info)
        set_custom(prompt, find(prompt, "SteadyDancerSampler"), pose_guidance=0.0)


if __name__ == "__main__":
    sys.exit(main())
