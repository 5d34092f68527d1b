"""Memory from a driving video to the MP4, by the length of the video, in a real ComfyUI with the miniature.

Poses From Video, the sampler in chunks, Exact First Frame and Video Combine with the sound: with images, as a short
clip is made, or with the poses in the sampler and the frames on disk. For each length a server of its own runs 81
frames first, which loads the model and sets all up; counted is what its anonymous memory, swapped or not, grows above
that: what a file holds the system takes back. Then come the growth per minute of video against the limit, and the
seconds of 81 frames on both ways, in turn in one server.
"""

import argparse
import os
import statistics
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness import timed
from steadydancer_pack.comfy_client.in_process import PACK
from steadydancer_pack.comfy_client.process import ComfyProcess
from steadydancer_pack.media.clips import read_frames
from steadydancer_pack.media.frame_size import MODEL_FPS
from steadydancer_pack.media.streamed_frames import StreamedFrames
from steadydancer_pack.media.video_writer import write_video
from steadydancer_pack.miniature import shipped, write_all

MOST_MB_PER_MINUTE, MOST_MB, SLOWER = 60, 4000, 1.05
SHORT, ROUNDS = 81, 5  # frames; runs of each way for the time
RATE = 48000  # Hz of the driving video's sound, in stereo
START_SECONDS, SILENT_SECONDS, INTERVAL_SECONDS = 900, 7200, 0.1  # on a machine that does much else
DANCE, PHOTO = "steadydancer_sample_dance.mp4", "steadydancer_sample.png"
IMAGES, ON_DISK = "images", "poses in, frames on disk"
WAYS = {"images": IMAGES, "disk": ON_DISK}
SAMPLER = {
    "preset": "Custom",
    "preset.steps": 1,
    "preset.text_guidance": 1.0,
    "preset.pose_end": 1.0,
    "preset.solver": "official euler",
    "chunks_gb": 100,
}


class Graph(dict):
    """An API prompt; `add` gives each widget that is not named the value of a new node."""

    def __init__(self, object_info: dict):
        super().__init__()
        self.object_info = object_info

    def add(self, kind: str, **inputs) -> str:
        """Add a node and return its id."""
        groups = self.object_info[kind]["input"]
        specs = {**groups["required"], **groups.get("optional", {})}
        values = {name: value for name, spec in specs.items() if (value := _default(spec)) is not None}
        name = str(len(self))
        self[name] = {"class_type": kind, "inputs": values | inputs, "_meta": {"title": kind}}
        return name


def _default(spec: list):
    options = spec[1] if len(spec) > 1 else {}
    choices = spec[0] if isinstance(spec[0], list) else options.get("options", [None])
    return options.get("default", choices[0] if choices else None)


def make_graph(object_info: dict, way: str, video: str, side: int, seed: int) -> Graph:
    """Return the prompt for a dance at `side` x `side` pixels."""
    graph = Graph(object_info)
    photo, driving = graph.add("LoadImage", image=PHOTO), graph.add("LoadVideo", file=video)
    how = {"max_frames": 0, "seed": seed, "draw_frames": way == IMAGES, "size": "custom"}
    how |= {"size.width": side, "size.height": side}
    dance = graph.add("SteadyDancerAnimateFromVideo", photo=[photo, 0], video=[driving, 0], **how)
    poses = {"poses": [dance, 6], "negative_poses": [dance, 9]}
    if way == IMAGES:
        poses = {"pose_frames": [dance, 0], "pose_negative_frames": [dance, 1]}
    prompts = (
        graph.add("SteadyDancerLoadPromptEmbeddings", file_name=f"steadydancer_miniature_{name}.safetensors")
        for name in ("positive", "negative")
    )
    positive, unwanted = ([name, 0] for name in prompts)
    model = graph.add("SteadyDancerLoadModel", model_name="steadydancer_miniature.safetensors")
    vae = graph.add("VAELoader", vae_name="steadydancer_miniature_vae.safetensors")
    frames = graph.add(
        "SteadyDancerChunkSampler", model=[model, 0], positive=positive, negative=unwanted, vae=[vae, 0],
        photo=[dance, 8], seed=seed, frames_on_disk=way == ON_DISK, **SAMPLER, **poses,
    )  # fmt: skip
    clip = {"images": [frames, 0]} if way == IMAGES else {"video": [frames, 2]}
    exact = graph.add("SteadyDancerExactFirstFrame", photo=[dance, 8], **clip)
    shown = [exact, 0 if way == IMAGES else 2]
    graph.add("SteadyDancerVideoCombine", images=shown, audio=[dance, 4], filename_prefix=f"benchmark/{seed}")
    return graph


def write_driving_video(path: Path, frames: int, source: Path) -> None:
    """Write that many frames of a video of the sample, played forward and backward, with noise as its sound."""
    dance = [np.asarray(picture) for picture in read_frames(source)]
    there_and_back = [*dance, *dance[-2:0:-1]]
    pictures = (there_and_back[index % len(there_and_back)] for index in range(frames))
    images = StreamedFrames(pictures, frames, dance[0].shape[1::-1])
    noise = 0.1 * torch.randn(1, 2, round(frames / MODEL_FPS * RATE), generator=torch.Generator().manual_seed(0))
    write_video([path], images, MODEL_FPS, audio={"waveform": noise, "sample_rate": RATE})


class Server(ComfyProcess):
    """A ComfyUI with the miniature, whose videos are `side` pixels wide and high, each with another seed."""

    def __init__(self, comfyui: Path, side: int):
        super().__init__(comfyui, PACK)
        self.side, self.seed = side, 0

    def start(self, timeout: float = START_SECONDS) -> None:
        super().start(timeout)
        write_all(self.base / "models", self.base / "input")
        self.object_info = self.client.object_info()

    def run(self, way: str, frames: int) -> float:
        """Make a video and return the seconds it took."""
        video = f"dance_{frames}.mp4"
        if not (self.base / "input" / video).is_file():
            write_driving_video(self.base / "input" / video, frames, shipped(DANCE))
        self.seed += 1
        graph = make_graph(self.object_info, way, video, self.side, self.seed)
        return timed(lambda: self.client.wait(self.client.queue(graph), silence=SILENT_SECONDS))[0]

    def grown_mb(self, way: str, frames: int) -> float:
        """Return by how many MB a video raises the peak of the process above its memory before."""
        before = anonymous_mb(self)
        return peak_mb(self, lambda: self.run(way, frames)) - before


def peak_mb(server: ComfyProcess, call: Callable[[], object]) -> float:
    """Return the most anonymous memory that the server has during a call."""
    peak, done = 0.0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(INTERVAL_SECONDS):
            peak = max(peak, anonymous_mb(server))

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch)
        try:
            call()
        finally:
            done.set()
        watching.result()
    return peak


def anonymous_mb(server: ComfyProcess) -> float:
    """Return the memory of the process that no file holds, from Linux's table."""
    lines = Path(f"/proc/{server.process.pid}/status").read_text("ascii").splitlines()
    return sum(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(("RssAnon:", "VmSwap:")))


def measure(comfyui: Path, side: int, way: str, seconds: list[int]) -> list[float]:
    """Print and return the MB that a video of each length takes, in a server of its own."""
    grown = []
    for length in seconds:
        server = Server(comfyui, side)
        with server:
            server.run(way, SHORT)
            grown.append(server.grown_mb(way, round(length * MODEL_FPS)))
        sys.stdout.write(f"{way}, {length} s: {grown[-1]:.0f} MB above the loaded model\n")
        sys.stdout.flush()
    return grown


def compare_times(comfyui: Path, side: int) -> float:
    """Print and return the seconds of 81 frames with the frames on disk by those with images, the medians in turn."""
    ways = {way: [] for way in (IMAGES, ON_DISK)}
    server = Server(comfyui, side)
    with server:
        for way in ways:
            server.run(way, SHORT)
        for _ in range(ROUNDS):
            for way, times in ways.items():
                times.append(server.run(way, SHORT))
    images, on_disk = (statistics.median(times) for times in ways.values())
    sys.stdout.write(
        f"{SHORT} frames: {images:.2f} s as images, {on_disk:.2f} s on disk, ratio {on_disk / images:.3f}\n"
    )
    return on_disk / images


def main() -> int:
    """Print the table; 1 where memory grows by more than the limits or 81 frames take longer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, nargs="+", default=[20, 60], help="lengths of video, ascending")
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=list(WAYS), help="what is measured")
    parser.add_argument("--side", type=int, default=128, help="pixels of the square frames")
    arguments = parser.parse_args()
    comfyui, failed = Path(os.environ["COMFYUI_PATH"]), False
    for way in arguments.ways:
        grown = measure(comfyui, arguments.side, WAYS[way], arguments.seconds)
        minutes = (arguments.seconds[-1] - arguments.seconds[0]) / 60
        slope = (grown[-1] - grown[0]) / minutes if minutes else 0.0
        sys.stdout.write(f"{WAYS[way]}: {slope:.1f} MB for each minute of video\n")
        failed |= WAYS[way] == ON_DISK and (slope > MOST_MB_PER_MINUTE or grown[-1] > MOST_MB)
    failed |= compare_times(comfyui, arguments.side) > SLOWER
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
