"""Ready poses in the place of a detector: what Extract Poses would find in a pair's files is read from JSON instead.

For characters that no detector was made for, and for pairs whose poses are known exactly.
"""

from ...comfy_client.prompt_edit import renumber

EXTRACT, LOAD = "SteadyDancerExtractPoses", "SteadyDancerLoadPoses"
SAME_OUTPUT = {0: 0, 2: 1, 4: 2}  # poses, fps and frame_count of EXTRACT, as LOAD numbers them


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
            f"workflow holds {len(found)}. Take a workflow such as dance_from_video, or a pairs file without poses."
        )
    node = prompt[found[0]]
    node["class_type"] = LOAD
    node["inputs"] = {"file": file, "fps": node["inputs"].get("fps") or 16.0, "width": 0, "height": 0}
    renumber(prompt, found[0], SAME_OUTPUT, object_info)
