"""Extreme values in the widgets of every node of ours, through a running ComfyUI.

By hand: `python tests/fuzz/widgets.py --count 500 --seed 1`, with ComfyUI's Python and COMFYUI_PATH set.
"""

import argparse
import copy
import json
import os
import sys
import threading
from collections import Counter
from pathlib import Path
from random import Random

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    import conftest  # noqa: F401  makes the pack importable as steadydancer_pack

from steadydancer_pack.comfy_client.api_prompt import to_api_prompt
from steadydancer_pack.comfy_client.client import ServerGone
from steadydancer_pack.comfy_client.process import ComfyProcess
from steadydancer_pack.comfy_client.prompt_edit import find
from steadydancer_pack.comfy_client.prompt_run import PromptFailed, PromptInterrupted, PromptRejected
from steadydancer_pack.miniature import write_all
from steadydancer_pack.tests.fuzz.campaign import Fault
from steadydancer_pack.tests.prompts import SAMPLER, VIDEO, node, small_prompt
from steadydancer_pack.tools.templates.names import FIX_BY_HAND, QUICK_START, STAGE_BY_STAGE

OURS = "SteadyDancer"
WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
SAMPLES = (STAGE_BY_STAGE, FIX_BY_HAND, QUICK_START)
SMALL = {"preset.steps": 2, "length": 5, "max_frames": 5}  # where a node has such a widget
LONGEST, STOPPING = 20.0, 10.0  # seconds: of a run, which is then cancelled, and of the cancelling
SHORTEST_SENTENCE, LOG_END = 20, 4000  # characters
NUMBERS = (-1, 0, 1, 2**31, 2**63, -(2**63), 1e30, -1e30, 1e-30, 0.1)
TEXTS = ("", "0", "nan", "auto", "../../x", "/", "aux", "\u955c\u5934", "\ud800", "a" * 300, "%date:yyyy%")
STRANGE = (None, True, *NUMBERS, *TEXTS, [], [1], {}, {"a": 1})


def mutated(prompt: dict, object_info: dict, random: Random) -> tuple[dict, str]:
    """Return the prompt with one or two of our widgets at strange values, and what was changed."""
    prompt, changed = copy.deepcopy(prompt), []
    places = [
        (key, name)
        for key, node in prompt.items()
        if node["class_type"].startswith(OURS)
        for name, value in node["inputs"].items()
        if not isinstance(value, list)
    ]
    for key, name in random.sample(places, random.choice((1, 1, 2))):
        edges = _edges(prompt[key], name, object_info)
        value = random.choice(edges if edges and random.random() < 0.7 else STRANGE)
        prompt[key]["inputs"][name] = value
        changed.append(f"{prompt[key]['class_type']}.{name} = {value!r:.60}")
    return prompt, ", ".join(changed)


def _edges(node: dict, name: str, object_info: dict) -> list:
    """Return the least and largest values that a widget says it takes, and its choices."""
    inputs = object_info[node["class_type"]]["input"]
    declared = {**inputs.get("required", {}), **inputs.get("optional", {})}.get(name, [None])
    options = declared[1] if len(declared) > 1 else {}
    choices = options.get("options") or (declared[0] if isinstance(declared[0], list) else [])
    choices = [choice["key"] if isinstance(choice, dict) else choice for choice in choices]
    names = [choice for choice in choices if isinstance(choice, (str, int, float))]
    edges = [options[end] for end in ("min", "max") if end in options]
    return [*names, *edges, *(edge + step for edge in edges for step in (-1, 1))]


def attempt(server: ComfyProcess, prompt: dict, what: str, seed: int, longest: float) -> Fault | str:
    """Return what came of a prompt: "rejected", "refused", "finished", "cancelled" or the fault."""
    timer = threading.Timer(longest, server.client.interrupt)
    try:
        prompt_id = server.client.queue(prompt)
        timer.start()
        server.client.wait(prompt_id, silence=longest + STOPPING)
        return "finished"
    except PromptRejected:
        return "rejected"
    except PromptInterrupted:
        return "cancelled"
    except PromptFailed as failure:
        if failure.exception_type == "ValueError" and len(str(failure)) >= SHORTEST_SENTENCE:
            return "refused"
        return Fault("widgets", seed, "crash", f"{what}\n{failure.exception_type}: {failure}")
    except ServerGone as error:
        return Fault("widgets", seed, "hang", f"{what}\n{error}\n{server.log()[-LOG_END:]}")
    finally:
        timer.cancel()


def run(
    server: ComfyProcess, prompts: list[dict], count: int, seed: int = 0, longest: float = LONGEST
) -> tuple[Counter, list[Fault]]:
    """Try `count` mutated prompts; return how each ended, and the faults. Ends at a server that no longer answers.

    longest: seconds after which a run is cancelled.
    """
    counts, faults, object_info = Counter(), [], server.client.object_info()
    for number in range(seed, seed + count):
        random = Random(f"widgets {number}")
        result = attempt(server, *mutated(random.choice(prompts), object_info, random), number, longest)
        kind = result.kind if isinstance(result, Fault) else result
        counts[kind] += 1
        if isinstance(result, Fault):
            faults.append(result)
        if kind == "hang":
            break
    return counts, faults


def main() -> int:
    """Run; 1 if there is a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="prompts")
    parser.add_argument("--seed", type=int, default=0, help="number of the first prompt")
    options = parser.parse_args()
    with ComfyProcess(Path(os.environ["COMFYUI_PATH"]), Path(__file__).resolve().parents[2]) as server:
        write_all(server.base / "models", server.base / "input")
        counts, faults = run(server, base_prompts(server), options.count, options.seed)
    sys.stdout.write("".join(f"{kind:10} {count}\n" for kind, count in sorted(counts.items())))
    sys.stdout.write("".join(f"\n--seed {fault.seed} --count 1: {fault.kind}\n{fault.said}\n" for fault in faults))
    return int(bool(faults))


def base_prompts(server: ComfyProcess) -> list[dict]:
    """Return small prompts that together hold most of our nodes."""
    object_info = server.client.object_info()
    files = [WORKFLOWS / f"{name}.json" for name in SAMPLES]
    prompts = [to_api_prompt(json.loads(file.read_text("utf-8")), object_info) for file in files]
    for prompt in prompts:
        for entry in prompt.values():
            entry["inputs"] |= {name: value for name, value in SMALL.items() if name in entry["inputs"]}
    return [small_prompt(object_info), in_windows(small_prompt(object_info)), *prompts]


def in_windows(prompt: dict) -> dict:
    """Return the prompt with its sampler in windows, and a score of each seam."""
    sampler, video = (prompt[find(prompt, kind)]["inputs"] for kind in (SAMPLER, VIDEO))
    prompt["windows"] = node("SteadyDancerLongVideoWindows", model=sampler["model"], window=33, overlap=16)
    prompt["seams"] = node("SteadyDancerSeamReport", images=video["images"], window=33, overlap=16)
    sampler["model"], video["images"] = ["windows", 0], ["seams", 0]
    return prompt


if __name__ == "__main__":
    sys.exit(main())
