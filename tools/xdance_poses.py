"""Ready poses in the place of a detector: what Extract Poses would find in a pair's files is read from JSON instead.

For figures that no detector was made for, and for pairs whose poses are known exactly.
"""

from .prompt_edit import drop

EXTRACT, LOAD = "SteadyDancerExtractPoses", "SteadyDancerLoadPoses"
SAME_OUTPUT = {0: 0, 2: 1, 4: 2}  # poses, fps and frame_count of EXTRACT, as LOAD numbers them


def with_pose_file(prompt: dict, source: str, file: str, object_info: dict) -> None:
    """Let the one Extract Poses that reads node `source` become a Load Poses of `file`, an uploaded name.

    What needs the other outputs goes: previews with their node, sound as an input. ValueError where there is not
    exactly one.
    """
    found = [
        node_id for node_id, node in prompt.items()
        if node["class_type"] == EXTRACT and [source, 0] in (node["inputs"].get("images"), node["inputs"].get("video"))
    ]  # fmt: skip
    if len(found) != 1:
        title = prompt[source].get("_meta", {}).get("title") or source
        raise ValueError(
            f"The pair has a file of poses, for which exactly one Extract Poses must be connected to '{title}'; the "
            f"workflow holds {len(found)}. Take a workflow such as dance_from_video, or a pairs file without poses."
        )
    node = prompt[found[0]]
    node["class_type"] = LOAD
    node["inputs"] = {"file": file, "fps": node["inputs"].get("fps") or 16.0, "width": 0, "height": 0}
    _renumber(prompt, found[0], object_info)


def _renumber(prompt: dict, node_id: str, object_info: dict) -> None:
    for other in list(prompt):
        inputs = prompt[other]["inputs"] if other in prompt else {}
        links = {name: value[1] for name, value in inputs.items() if isinstance(value, list) and value[0] == node_id}
        lost = [name for name, output in links.items() if output not in SAME_OUTPUT]
        required = object_info[prompt[other]["class_type"]]["input"].get("required", {}) if lost else {}
        if any(name in required for name in lost):
            drop(prompt, other, object_info)
            continue
        for name in lost:
            del inputs[name]
        inputs |= {name: [node_id, SAME_OUTPUT[output]] for name, output in links.items() if name not in lost}
