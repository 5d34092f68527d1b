"""What a prompt leaves behind in a server: memory, open files, threads and temporary files, against stock nodes.

One ComfyUI for each row of the table, with its page open in a Chromium. Prompts of mixed kinds, each with another
seed: ready skeletons, a dance from a video, chunks, one that fails and one that is cancelled. The control brings frames
of the same number and size through the same VAE with stock nodes and saves them the same way, because each loading of a
file leaves some kB in the process. ComfyUI's history, which keeps the graph of every prompt, is cleared after each.
Growth is the slope of a line through the values after the warm-up, with twice its standard error; the pack passes where
its growth of memory does not exceed the control's by more than both errors.
"""

import argparse
import copy
import itertools
import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
from playwright.sync_api import sync_playwright

from steadydancer_pack.comfy_client.api_prompt import SEEDS, to_api_prompt
from steadydancer_pack.comfy_client.in_process import PACK
from steadydancer_pack.comfy_client.process import ComfyProcess
from steadydancer_pack.comfy_client.prompt_run import PromptFailed, PromptInterrupted
from steadydancer_pack.miniature import write_all
from steadydancer_pack.tools.comfy_page import launch, open_graph, write_settings
from steadydancer_pack.tools.templates.names import QUICK_START, READY_SKELETONS, STAGE_BY_STAGE

WARM_UP = 160  # the allocator takes as many prompts to fill what it has freed
MOST_SECONDS_TO_CANCEL = 1.0
WORKFLOWS = (READY_SKELETONS, STAGE_BY_STAGE, QUICK_START)
SMALL = {"preset.steps": 2, "length": 9, "max_frames": 9, "width": 48, "height": 48}  # where a node has such a widget
FRAMES, SIDE = 9, 48
CACHES = ((), ("--cache-none",))
KINDS = ("MB", "open files", "threads", "temporary files")


def ours(server: ComfyProcess) -> Iterator[tuple[dict, bool]]:
    """Yield prompts of mixed kinds without end, and whether each is cancelled on the way."""
    info = server.client.object_info()
    graphs = [
        to_api_prompt(json.loads((PACK / "workflows" / f"{name}.json").read_text("utf-8")), info) for name in WORKFLOWS
    ]
    for graph in graphs:
        for node in graph.values():
            node["inputs"] |= {name: value for name, value in SMALL.items() if name in node["inputs"]}
    failing = copy.deepcopy(graphs[0])
    for node in failing.values():
        if "length" in node["inputs"]:
            node["inputs"]["length"] = 4 * FRAMES * FRAMES + 1  # more frames than there are skeletons
    for seed in itertools.count():
        graph, cancel = [(graph, False) for graph in [*graphs, failing]][seed % 4] if seed % 5 else (graphs[1], True)
        graph = copy.deepcopy(graph)
        for node in graph.values():
            node["inputs"] |= {name: seed for name in SEEDS if name in node["inputs"]}
        yield graph, cancel


def control(_server: ComfyProcess) -> Iterator[tuple[dict, bool]]:
    """Yield prompts of stock nodes: frames of another color each time, as latents and back, as a video and pictures."""
    for seed in itertools.count():
        graph = {
            "1": _node("EmptyImage", width=SIDE, height=SIDE, batch_size=FRAMES, color=seed * 7919 % 2**24),
            "6": _node("VAELoader", vae_name="steadydancer_miniature_vae.safetensors"),
            "7": _node("VAEEncode", pixels=["1", 0], vae=["6", 0]),
            "2": _node("VAEDecode", samples=["7", 0], vae=["6", 0]),
            "3": _node("CreateVideo", images=["2", 0], fps=16.0),
            "4": _node("SaveVideo", video=["3", 0], filename_prefix="video/control", format="auto", codec="auto"),
            "5": _node("PreviewImage", images=["2", 0]),
        }
        yield graph, False


def _node(kind: str, **inputs) -> dict:
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}


def state(server: ComfyProcess) -> list[float]:
    """Return what KINDS names, of the server as it is now."""
    process = psutil.Process(server.process.pid)
    temporary = sum(1 for path in (server.base / "temp").rglob("*") if path.is_file())
    return [process.memory_info().rss / 1e6, process.num_fds(), process.num_threads(), temporary]


def run(server: ComfyProcess, graph: dict, cancel: bool) -> None:
    timer = threading.Timer(MOST_SECONDS_TO_CANCEL if cancel else 600, server.client.interrupt)
    prompt_id = server.client.queue(graph)
    timer.start()
    try:
        server.client.wait(prompt_id)
    except (PromptFailed, PromptInterrupted):
        pass
    finally:
        timer.cancel()


def measure(comfyui: Path, options: tuple[str, ...], prompts, count: int) -> np.ndarray:
    """Return the growth of each kind for each prompt, and twice its standard error [2, kinds]."""
    rows, server = [], ComfyProcess(comfyui, PACK, options=options)
    write_settings(server.base, {})
    with server, sync_playwright() as playwright:
        open_graph(launch(playwright).new_page(), server.address)
        write_all(server.base / "models", server.base / "input")
        for graph, cancel in itertools.islice(prompts(server), WARM_UP + count):
            run(server, graph, cancel)
            server.client.clear_history()
            rows.append(state(server))
    values, numbers = np.array(rows[WARM_UP:]), np.arange(count)
    fit, covariance = np.polyfit(numbers, values, 1, cov="unscaled")
    spread = (values - np.outer(numbers, fit[0]) - fit[1]).std(axis=0, ddof=2)
    return np.stack([fit[0], 2 * spread * np.sqrt(covariance[0, 0])])


def main() -> int:
    """Print a table; 1 where the pack grows faster than the control."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="prompts after the warm-up")
    count, comfyui, failed = parser.parse_args().count, Path(os.environ["COMFYUI_PATH"]), False
    for options in CACHES:
        grown = [measure(comfyui, options, prompts, count) for prompts in (ours, control)]
        for name, (growth, error) in zip(("the pack", "control"), grown, strict=True):
            parts = (f"{kind} {g:+.3f} +- {e:.3f}" for kind, g, e in zip(KINDS, growth, error, strict=True))
            sys.stdout.write(f"{' '.join(options) or 'default cache'}, {name}, for each prompt: {', '.join(parts)}\n")
        (pack, pack_error), (stock, stock_error) = grown
        failed |= bool(pack[0] - stock[0] > pack_error[0] + stock_error[0])
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
