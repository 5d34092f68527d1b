"""The workflow of an X-Dance run as a mould: which nodes take photo, video and seed, and the prompt for one pair."""

import copy
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from ...comfy_client.api_prompt import NOTES, to_api_prompt
from ...comfy_client.prompt_edit import set_inputs

PHOTO_INPUT = {"LoadImage": "image"}
VIDEO_INPUT = {"LoadVideo": "file"}
SAVE_INPUT = {"SteadyDancerVideoCombine": "filename_prefix", "SaveVideo": "filename_prefix"}
PHOTO_TITLE, VIDEO_TITLE, RESULT_TITLE = "Photo", "Driving video", "Result"
SEEDS = ("seed", "noise_seed")
NODE_KEYS = ("id", "type", "title", "mode", "widgets_values", "inputs")  # the rest is looks
FOLDER = "xdance"


@dataclass(frozen=True)
class Mould:
    """A workflow, and the ids of the nodes that get a pair's photo and video, the seed and the result's name."""

    workflow: dict
    photo: str
    video: str
    result: str
    samplers: tuple[str, ...]
    seed: int | None

    @property
    def sha256(self) -> str:
        """Hash of all that decides about the results but the pair: moving a node on the canvas changes nothing."""
        nodes = [{key: node.get(key) for key in NODE_KEYS} for node in self.workflow.get("nodes", ())]
        parts = [nodes, self.workflow["links"]] if nodes else self.workflow
        return sha256_of([parts, self.photo, self.video, self.result, self.seed])

    def prompt(self, object_info: dict) -> dict:
        """Return the API prompt with the seed in it; ValueError where a node cannot be sent."""
        ready = copy.deepcopy(self.workflow) if is_api(self.workflow) else to_api_prompt(self.workflow, object_info)
        unknown = sorted({node["class_type"] for node in ready.values()} - set(object_info))
        if unknown:
            raise ValueError(f"This ComfyUI lacks the nodes {', '.join(unknown)}. Install their packs there.")
        for node_id in self.samplers if self.seed is not None else ():
            set_inputs(ready, node_id, **{name: self.seed for name in SEEDS if name in ready[node_id]["inputs"]})
        return ready

    def fill(self, prompt: dict, photo: str, video: str, name: str) -> dict:
        """Return a copy of `prompt` for the pair `name`; photo, video: names of uploaded files."""
        filled = copy.deepcopy(prompt)
        values = ((self.photo, PHOTO_INPUT, photo), (self.video, VIDEO_INPUT, video))
        for node_id, inputs, value in (*values, (self.result, SAVE_INPUT, f"{FOLDER}/{name}")):
            set_inputs(filled, node_id, **{inputs[filled[node_id]["class_type"]]: value})
        return filled


def read_mould(
    file: Path,
    photo: str | None = None,
    video: str | None = None,
    result: str | None = None,
    seed: int | None = None,
) -> Mould:
    """Read a workflow, saved as usual or in API form; ValueError says which node is missing or not clear.

    photo, video, result: id or title of the node to take, where there are several. seed: None keeps the workflow's.
    """
    try:
        workflow = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} is no workflow that can be read ({error}). Save it in ComfyUI again.") from None
    if not is_api(workflow) and not (isinstance(workflow, dict) and {"nodes", "links"} <= workflow.keys()):
        raise ValueError(f"{file} holds no workflow. Save one in ComfyUI with Workflow, Save or Export (API).")
    nodes = _nodes(workflow)
    samplers = tuple(i for i, (kind, _) in nodes.items() if "Sampler" in kind or kind == "RandomNoise")
    if seed is not None and not samplers:
        raise ValueError(f"{file} holds no sampler that could take --seed {seed}. Leave --seed out.")
    wishes = (
        ("photo", PHOTO_INPUT, PHOTO_TITLE, photo),
        ("video", VIDEO_INPUT, VIDEO_TITLE, video),
        ("result", SAVE_INPUT, RESULT_TITLE, result),
    )
    found = [_choose(file, nodes, *wish) for wish in wishes]
    return Mould(workflow, *found, samplers, seed)


def is_api(workflow: dict) -> bool:
    """Tell whether this is ComfyUI's API form: nodes by id, each with its class_type."""
    nodes = workflow.values() if isinstance(workflow, dict) else ()
    return bool(nodes) and all(isinstance(node, dict) and "class_type" in node for node in nodes)


def _nodes(workflow: dict) -> dict[str, tuple[str, str]]:
    """Return {id: (type, title)} of either form."""
    if is_api(workflow):
        return {i: (node["class_type"], node.get("_meta", {}).get("title", "")) for i, node in workflow.items()}
    nodes = (node for node in workflow["nodes"] if node["type"] not in NOTES)
    return {str(node["id"]): (node["type"], node.get("title") or "") for node in nodes}


def _choose(file: Path, nodes: dict, what: str, kinds: dict, title: str, wish: str | None) -> str:
    """Return the id of the node that takes or gives `what`: the wished one, the only one, or the one titled so."""
    fitting = {node_id: name for node_id, (kind, name) in nodes.items() if kind in kinds}
    wanted = wish or title
    chosen = [node_id for node_id, name in fitting.items() if wanted in (node_id, name)]
    if not wish and len(fitting) == 1:
        return next(iter(fitting))
    if len(chosen) == 1:
        return chosen[0]
    there = ", ".join(f"{node_id} '{name}'" for node_id, name in fitting.items()) or "none"
    named = f"--{what}-node {wish}" if wish else f"exactly one node for the {what}, or one titled '{title}'"
    raise ValueError(
        f"{file} must hold {named}, of type {' or '.join(kinds)}; it holds {there}. "
        f"Add it, give it that title, or name it with --{what}-node ID."
    )


def sha256_of(value: object) -> str:
    """Return the sha256 of a value's JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
