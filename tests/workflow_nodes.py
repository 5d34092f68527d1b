"""What the nodes of the shipped workflows take, as ComfyUI's server tells its page, without a server."""

import importlib

from comfy_api.latest import io

import nodes as core_nodes
from steadydancer_pack.tests.pack_nodes import pack_nodes

# ComfyUI loads these modules when its server starts.
CORE_MODULES = (
    "video", "sdpose", "toolkit", "hunyuan", "frame_interpolation", "primitive", "upscale_model", "logic",
)  # fmt: skip
TYPES = {"INT": int, "FLOAT": (int, float), "STRING": str, "BOOLEAN": bool}


def object_info() -> dict:
    """Return {node type: {"input", "output", "output_name", "display_name"}} of our nodes and of ComfyUI's."""
    extras = [importlib.import_module(f"comfy_extras.nodes_{name}") for name in CORE_MODULES]
    found = {kind: node for module in extras for kind, node in _schema_nodes(vars(module).values())}
    found |= core_nodes.NODE_CLASS_MAPPINGS | dict(_schema_nodes(pack_nodes()))
    return {kind: _info(kind, node) for kind, node in found.items()}


def _schema_nodes(candidates):
    """Yield (type, node) of those that are nodes with a schema, not the class they derive from."""
    for node in candidates:
        if isinstance(node, type) and issubclass(node, io.ComfyNode) and node is not io.ComfyNode:
            yield node.GET_SCHEMA().node_id, node


def _info(kind: str, node: type) -> dict:
    name = core_nodes.NODE_DISPLAY_NAME_MAPPINGS.get(kind)
    if hasattr(node, "GET_SCHEMA"):
        name = node.GET_SCHEMA().display_name
    names = list(getattr(node, "RETURN_NAMES", None) or node.RETURN_TYPES)
    types = list(map(str, node.RETURN_TYPES))
    return {"input": node.INPUT_TYPES(), "output": types, "output_name": names, "display_name": name or kind}


def misfits(prompt: dict, info: dict, files: set[str]) -> list[str]:
    """Return which widgets of an API prompt hold what their node does not take; `files` are taken by any list."""
    found = []
    for node in prompt.values():
        spec = info[node["class_type"]]["input"]
        entries = _entries(spec, node["inputs"])
        values = {name: value for name, value in node["inputs"].items() if not isinstance(value, list)}
        wrong = [name for name, value in values.items() if not _fits(value, *(*entries[name], {})[:2], files)]
        found += [f"{node['_meta']['title']}: {name} = {values[name]}" for name in wrong]
    return found


def _entries(spec: dict, inputs: dict, prefix: str = "") -> dict:
    """Return what each input of a node takes, by its name in a prompt: those below a choice that is made too."""
    found = {f"{prefix}{name}": entry for name, entry in _groups(spec).items()}
    for name, entry in list(found.items()):
        if entry[0] == "COMFY_DYNAMICCOMBO_V3":
            chosen = [option for option in entry[1]["options"] if option["key"] == inputs.get(name)]
            for option in chosen:
                found |= _entries(option["inputs"], inputs, f"{name}.")
    return found


def _groups(spec: dict) -> dict:
    return spec.get("required", {}) | spec.get("optional", {})


def _fits(value, kind, options, files: set[str]) -> bool:
    """Return whether a widget takes the value: a choice, one of the files, or a number within its limits."""
    if kind == "COMFY_DYNAMICCOMBO_V3":
        return value in [option["key"] for option in options["options"]]
    if isinstance(kind, list) or kind == "COMBO":
        return value in files or value in (kind if isinstance(kind, list) else options["options"])
    within = kind in ("STRING", "BOOLEAN") or options["min"] <= value <= options["max"]
    return isinstance(value, TYPES[kind]) and within
