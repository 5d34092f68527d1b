"""Memory of shipped workflows by the length of the dance, in a real ComfyUI with the miniature.

    python -m benchmarks.workflow_memory "1 Quick start (no download)" "3 Fast, 4 steps" --frames 81 161 600
    python -m benchmarks.workflow_memory fast_4_steps --pack FOLDER_OF_ANOTHER_CHECKOUT

Each workflow runs in a server of its own, lengths in turn, at `--side` pixels and one step; the 14B files are replaced
by the miniature's. Counted is the peak of the server's anonymous memory above what it had before the first run.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from benchmarks.long_video_memory import DANCE, PHOTO, anonymous_mb, peak_mb, write_driving_video
from steadydancer_pack.comfy_client.api_prompt import to_api_prompt
from steadydancer_pack.comfy_client.in_process import PACK
from steadydancer_pack.comfy_client.process import ComfyProcess
from steadydancer_pack.comfy_client.prompt_edit import SAMPLE, with_loaders
from steadydancer_pack.miniature import SIDE, shipped, write_all
from steadydancer_pack.tests.on_miniature import on_the_miniature  # ty: ignore[import-not-found]  tests are not type-checked

SKELETONS = "steadydancer_sample_pose.mp4"
FILES = {DANCE: "dance_{}.mp4", SKELETONS: "pose_{}.mp4", "steadydancer_sample_pose_negative.mp4": "pose_{}.mp4"}
READY = ("Own pose video", "own_pose_video")  # the driving video of these shows skeletons
QUICK = {"preset": "Custom", "preset.steps": 1, "preset.text_guidance": 1.0}
SILENT_SECONDS = 7200  # on a machine that does much else


def inputs_by_type(frames: int, side: int, seed: int) -> dict[str, dict]:
    """Return what nodes take, by their type, for a dance of `frames` frames of `side` x `side` pixels."""
    size = {"width": side, "height": side}
    custom = {"size": "custom", "size.width": side, "size.height": side}
    return {
        "LoadImage": {"image": PHOTO},
        "SteadyDancerAnimateFromVideo": {"max_frames": frames} | custom,
        "SteadyDancerExtractPoses": {"max_frames": frames},
        "SteadyDancerDrawPoses": size,
        "SteadyDancerReconcileConditions": size | {"length": frames},
        "SteadyDancerSampler": QUICK | {"seed": seed},
        "SteadyDancerChunkSampler": QUICK | size | {"seed": seed, "chunks_gb": 100},
    }


def api_prompt(workflow: dict, name: str, object_info: dict, frames: int, by_type: dict[str, dict]) -> dict:
    """Return the prompt of a workflow for videos of `frames` frames; see FILES for their names."""
    if any(node["type"] == SAMPLE for node in workflow["nodes"]):
        workflow = with_loaders(workflow)
    prompt = on_the_miniature(to_api_prompt(workflow, object_info), by_type)
    for node in prompt.values():
        if node["class_type"] == "LoadVideo":
            given = SKELETONS if name in READY else node["inputs"]["file"]
            node["inputs"]["file"] = FILES.get(given, FILES[DANCE]).format(frames)
    return prompt


def measure(name: str, options: argparse.Namespace) -> None:
    """Print the MB that a workflow takes at each length."""
    workflow = json.loads((options.pack / "workflows" / f"{name}.json").read_text("utf-8"))
    with ComfyProcess(Path(os.environ["COMFYUI_PATH"]), options.pack) as server:
        write_all(server.base / "models", server.base / "input")
        object_info, before = server.client.object_info(), anonymous_mb(server)
        for seed, frames in enumerate(options.frames, 1):
            for source, video in FILES.items():
                path = server.base / "input" / video.format(frames)
                if not path.is_file():
                    write_driving_video(path, frames, shipped(source))
            by_type = inputs_by_type(frames, options.side, seed)
            for kind, inputs in options.inputs.items():
                by_type[kind] = by_type.get(kind, {}) | inputs
            prompt = api_prompt(workflow, name, object_info, frames, by_type)
            run = lambda prompt=prompt: server.client.wait(server.client.queue(prompt), silence=SILENT_SECONDS)  # noqa: E731
            sys.stdout.write(f"{name}, {frames} frames: {peak_mb(server, run) - before:.0f} MB\n")
            sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workflows", nargs="+", help="names in the folder workflows")
    parser.add_argument("--frames", type=int, nargs="+", default=[81, 161, 600], help="lengths, ascending")
    parser.add_argument("--side", type=int, default=SIDE, help="pixels of the square frames")
    parser.add_argument("--pack", type=Path, default=PACK, help="the checkout that ComfyUI loads, by default this one")
    parser.add_argument("--inputs", type=json.loads, default={}, help='for other checkouts: {"NodeType": {"input": 1}}')
    options = parser.parse_args()
    for name in options.workflows:
        measure(name, options)


if __name__ == "__main__":
    main()
