"""What the nodes of the shipped workflows take, as ComfyUI's server tells its page, without a server."""

import importlib

from comfy_api.latest import io

import nodes as core_nodes
from steadydancer_pack.tests.pack_nodes import pack_nodes

# ComfyUI loads these modules when its server starts.
CORE_MODULES = ("video", "sdpose", "toolkit", "hunyuan", "frame_interpolation", "primitive")
TYPES = {"INT": int, "FLOAT": (int, float), "STRING": str, "BOOLEAN": bool}


def object_info() -> dict:
    """Return {node type: {"input", "output", "display_name"}} of our nodes and of ComfyUI's."""
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
    outputs = getattr(node, "RETURN_NAMES", None) or node.RETURN_TYPES
    return {"input": node.INPUT_TYPES(), "output": list(outputs), "display_name": name or kind}


def misfits(prompt: dict, info: dict, files: set[str]) -> list[str]:
    """Return which widgets of an API prompt hold what their node does not take; `files` are taken by any list."""
    found = []
    for node in prompt.values():
        spec = info[node["class_type"]]["input"]
        entries = spec.get("required", {}) | spec.get("optional", {})
        values = {name: value for name, value in node["inputs"].items() if not isinstance(value, list)}
        wrong = [name for name, value in values.items() if not _fits(value, *(*entries[name], {})[:2], files)]
        found += [f"{node['_meta']['title']}: {name} = {values[name]}" for name in wrong]
    return found


def _fits(value, kind, options, files: set[str]) -> bool:
    """Return whether a widget takes the value: a choice, one of the files, or a number within its limits."""
    if isinstance(kind, list) or kind == "COMBO":
        return value in files or value in (kind if isinstance(kind, list) else options["options"])
    within = kind in ("STRING", "BOOLEAN") or options["min"] <= value <= options["max"]
    return isinstance(value, TYPES[kind]) and within
