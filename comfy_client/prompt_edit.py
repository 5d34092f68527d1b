"""Find, set and drop nodes of an API prompt."""

from collections.abc import Mapping


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
