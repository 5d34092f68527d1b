"""The workflow of an X-Dance run as a template: the nodes that take photo, video and seed, and the prompt of a pair."""

import copy
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from ...comfy_client.api_prompt import NOTES, SEEDS, to_api_prompt
from ...comfy_client.prompt_edit import renumber, set_inputs
from ...comfy_client.subgraphs import PROMOTED, flatten

PHOTO_INPUT = {"LoadImage": "image"}
VIDEO_INPUT = {"LoadVideo": "file"}
SAVE_INPUT = {"SteadyDancerVideoCombine": "filename_prefix", "SaveVideo": "filename_prefix"}
PHOTO_TITLE, VIDEO_TITLE, RESULT_TITLE = "Photo", "Driving video", "Result"
NODE_KEYS = ("id", "type", "title", "mode", "widgets_values", "inputs")  # the rest is layout
FOLDER = "xdance"
EXTRACT, LOAD = "SteadyDancerExtractPoses", "SteadyDancerLoadPoses"
MODEL_FILES = (".safetensors", ".sft", ".gguf", ".onnx", ".ckpt", ".pt", ".pth", ".bin")
SAME_OUTPUT = {0: 0, 2: 1, 4: 2}  # poses, fps and frame_count of EXTRACT, as LOAD numbers them


@dataclass(frozen=True)
class PromptTemplate:
    """A workflow, and the ids of the nodes that get a pair's photo and video, the seed and the result's name."""

    workflow: dict
    photo: str
    video: str
    result: str
    samplers: tuple[str, ...]
    seed: int | None

    @property
    def sha256(self) -> str:
        """Hash of all that decides the results except the pair and the seed.

        Neither the place of a node on the canvas nor the photo and video that were saved with it count; of a workflow
        in API form neither the names of results and titles.
        """
        if is_api(self.workflow):
            named = {self.photo: PHOTO_INPUT, self.video: VIDEO_INPUT, self.result: SAVE_INPUT}
            parts = {
                node_id: (kind := node["class_type"], _without(node["inputs"], named.get(node_id, {}).get(kind)))
                for node_id, node in self.workflow.items()
            }
            return sha256_of([parts, self.photo, self.video, self.result])
        shown = [{key: node.get(key) for key in NODE_KEYS} for node in self.workflow["nodes"]]
        for node in shown:
            if str(node["id"]) in (self.photo, self.video):
                node["widgets_values"] = None
        links, promoted = self.workflow["links"], self.workflow.get(PROMOTED, {})
        return sha256_of([shown, links, promoted, self.photo, self.video, self.result])

    def prompt(self, object_info: dict) -> dict:
        """Return the API prompt with the seed in it; ValueError where a node cannot be sent."""
        ready = copy.deepcopy(self.workflow) if is_api(self.workflow) else to_api_prompt(self.workflow, object_info)
        unknown = sorted({node["class_type"] for node in ready.values()} - set(object_info))
        if unknown:
            raise ValueError(f"This ComfyUI lacks the nodes {', '.join(unknown)}. Install their packs there.")
        if self.seed is not None:
            for node_id in self.samplers:
                set_inputs(ready, node_id, **{name: self.seed for name in SEEDS if name in ready[node_id]["inputs"]})
        return ready

    def fill(self, prompt: dict, photo: str, video: str, name: str) -> dict:
        """Return a copy of `prompt` for the pair `name`; photo, video: names of uploaded files."""
        filled = copy.deepcopy(prompt)
        for node_id, inputs, value in (
            (self.photo, PHOTO_INPUT, photo),
            (self.video, VIDEO_INPUT, video),
            (self.result, SAVE_INPUT, f"{FOLDER}/{name}"),
        ):
            set_inputs(filled, node_id, **{inputs[filled[node_id]["class_type"]]: value})
        return filled


def read_template(
    file: Path, photo: str | None = None, video: str | None = None, result: str | None = None, seed: int | None = None
) -> PromptTemplate:
    """Read a workflow, saved as usual or in API form; ValueError says which node is missing or ambiguous.

    photo, video, result: id or title of the node where there are several. seed: None keeps the workflow's.
    """
    try:
        workflow = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} is no workflow that can be read ({error}). Save it in ComfyUI again.") from None
    if is_api(workflow):
        nodes = {i: (node["class_type"], node.get("_meta", {}).get("title", "")) for i, node in workflow.items()}
    elif isinstance(workflow, dict) and {"nodes", "links"} <= workflow.keys():
        workflow = flatten(workflow)
        shown = (node for node in workflow["nodes"] if node["type"] not in NOTES)
        nodes = {str(node["id"]): (node["type"], node.get("title") or "") for node in shown}
    else:
        raise ValueError(f"{file} holds no workflow. Save one in ComfyUI with Workflow, Save or Export (API).")
    samplers = tuple(i for i, (kind, _) in nodes.items() if "Sampler" in kind or kind == "RandomNoise")
    if seed is not None and not samplers:
        raise ValueError(f"{file} holds no sampler that could take --seed {seed}. Leave --seed out.")
    return PromptTemplate(
        workflow,
        _node_for(file, nodes, "photo", PHOTO_INPUT, PHOTO_TITLE, photo),
        _node_for(file, nodes, "video", VIDEO_INPUT, VIDEO_TITLE, video),
        _node_for(file, nodes, "result", SAVE_INPUT, RESULT_TITLE, result),
        samplers,
        seed,
    )


def with_pose_file(prompt: dict, source: str, file: str, object_info: dict) -> None:
    """Replace the one Extract Poses that reads node `source` by a Load Poses of `file`, an uploaded name.

    What needs its other outputs is dropped. ValueError unless there is exactly one.
    """
    extracts = {node_id: node["inputs"] for node_id, node in prompt.items() if node["class_type"] == EXTRACT}
    found = [i for i, inputs in extracts.items() if [source, 0] in (inputs.get("images"), inputs.get("video"))]
    if len(found) != 1:
        title = prompt[source].get("_meta", {}).get("title") or source
        raise ValueError(
            f"The pair has a file of poses, for which exactly one Extract Poses must be connected to '{title}'; the "
            f"workflow holds {len(found)}. Take the template Stage by stage, or a pairs file without poses."
        )
    node = prompt[found[0]]
    node["class_type"] = LOAD
    node["inputs"] = {"file": file, "fps": node["inputs"].get("fps") or 16.0, "width": 0, "height": 0}
    renumber(prompt, found[0], SAME_OUTPUT, object_info)


def model_names(prompt: dict) -> list[str]:
    """Return the names of model files among the values of a prompt's inputs, each once, in order."""
    values = (value for node in prompt.values() for value in node["inputs"].values())
    return sorted({value for value in values if isinstance(value, str) and value.lower().endswith(MODEL_FILES)})


def is_api(workflow: dict) -> bool:
    """Return whether this is ComfyUI's API form: nodes by id, each with its class_type."""
    nodes = workflow.values() if isinstance(workflow, dict) else ()
    return bool(nodes) and all(isinstance(node, dict) and "class_type" in node for node in nodes)


def _node_for(file: Path, nodes: dict, what: str, kinds: dict, title: str, chosen: str | None) -> str:
    """Return the id of the node for `what`: the chosen one, the only one of its types, or the one with the title."""
    fitting = {node_id: name for node_id, (kind, name) in nodes.items() if kind in kinds}
    if not chosen and len(fitting) == 1:
        return next(iter(fitting))
    found = [node_id for node_id, name in fitting.items() if (chosen or title) in (node_id, name)]
    if len(found) == 1:
        return found[0]
    there = ", ".join(f"{node_id} '{name}'" for node_id, name in fitting.items()) or "none"
    named = f"--{what}-node {chosen}" if chosen else f"exactly one node for the {what}, or one titled '{title}'"
    raise ValueError(
        f"{file} must hold {named}, of type {' or '.join(kinds)}; it holds {there}. "
        f"Add it, give it that title, or name it with --{what}-node ID."
    )


def _without(inputs: dict, name: str | None) -> dict:
    return {key: value for key, value in inputs.items() if key != name}


def sha256_of(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
