"""Find, set and drop nodes of an API prompt."""

import copy
from collections.abc import Mapping

SAMPLE = "SteadyDancerMiniatureSample"
LOADERS = (  # of each output of the sample: node, title, file, type
    ("LoadImage", "Photo", "steadydancer_sample.png", "IMAGE"),
    ("LoadVideo", "Driving video", "steadydancer_sample_dance.mp4", "VIDEO"),
    ("LoadVideo", "Pose video", "steadydancer_sample_pose.mp4", "VIDEO"),
    ("LoadVideo", "Pose-negative video", "steadydancer_sample_pose_negative.mp4", "VIDEO"),
)


def find(prompt: dict, class_type: str, title: str | None = None) -> str:
    """Return the id of the one node of that type (and title); ValueError if there is none or more than one."""
    found = [
        node_id
        for node_id, node in prompt.items()
        if node["class_type"] == class_type and title in (None, node["_meta"]["title"])
    ]
    if len(found) != 1:
        named = f"{class_type} titled '{title}'" if title else class_type
        raise ValueError(f"The workflow must hold exactly one {named}; it holds {len(found)}.")
    return found[0]


def set_inputs(prompt: dict, node_id: str, **values) -> None:
    """Give a node's inputs new values; those that are None stay as they are."""
    prompt[node_id]["inputs"] |= {name: value for name, value in values.items() if value is not None}


def with_loaders(workflow: dict) -> dict:
    """Return the saved workflow with loaders of files in the place of the bundled sample."""
    workflow = copy.deepcopy(workflow)
    (sample,) = (node for node in workflow["nodes"] if node["type"] == SAMPLE)
    workflow["nodes"].remove(sample)
    first = max(node["id"] for node in workflow["nodes"]) + 1
    for output, (kind, title, file, type_) in enumerate(LOADERS):
        links = [link for link in workflow["links"] if link[1:3] == [sample["id"], output]]
        for link in links:
            link[1:3] = first + output, 0
        if links:
            place = {"pos": [sample["pos"][0], sample["pos"][1] + 400 * output], "size": sample["size"]}
            outputs = [{"name": type_, "type": type_, "links": [link[0] for link in links]}]
            node = {**sample, "id": first + output, "type": kind, "title": title, "inputs": [], "outputs": outputs}
            workflow["nodes"].append({**node, **place, "widgets_values": [file, "image"]})
    return workflow


def set_custom(prompt: dict, node_id: str, **values) -> None:
    """Give a sampler values of its own in the place of a preset's; those that are None stay as they are."""
    given = {f"preset.{name}": value for name, value in values.items()}
    if any(value is not None for value in given.values()):
        set_inputs(prompt, node_id, preset="Custom", **given)


def drop(prompt: dict, node_id: str, object_info: dict) -> None:
    """Take a node out, its links to optional inputs with it, and every node that cannot run without it."""
    del prompt[node_id]
    renumber(prompt, node_id, {}, object_info)


def renumber(prompt: dict, node_id: str, outputs: Mapping[int, int], object_info: dict) -> None:
    """Give every link from a node its output's new number; where it has none, the link goes as in `drop`."""
    for other in list(prompt):
        inputs = prompt[other]["inputs"] if other in prompt else {}
        links = {name: value[1] for name, value in inputs.items() if isinstance(value, list) and value[0] == node_id}
        lost = [name for name, output in links.items() if output not in outputs]
        required = object_info[prompt[other]["class_type"]]["input"].get("required", {}) if lost else {}
        if any(name in required for name in lost):
            drop(prompt, other, object_info)
            continue
        inputs |= {name: [node_id, outputs[output]] for name, output in links.items() if output in outputs}
        for name in lost:
            del inputs[name]
