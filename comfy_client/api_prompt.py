"""Turn a saved workflow (the frontend's JSON) into the prompt that ComfyUI's API takes.

Knows what the shipped workflows use: links, widgets in order, dynamic combos, bypassed nodes. Subgraphs, Reroute,
Primitive and muted nodes are refused by name, never guessed at.
"""

from collections.abc import Iterator

from .bypassed import without_bypassed

WIDGET_TYPES = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
DYNAMIC_COMBO = "COMFY_DYNAMICCOMBO_V3"
NOTES = {"Note", "MarkdownNote"}
MUTED = 2  # the mode of a node
SEEDS = ("seed", "noise_seed")
SEED_CONTROLS = ("fixed", "increment", "decrement", "randomize")
UPLOAD_FLAGS = ("image_upload", "video_upload", "audio_upload")
UPLOAD_BUTTON = "UPLOAD_BUTTON"
OPTIONAL = "optional"


def to_api_prompt(workflow: dict, object_info: dict) -> dict:
    """Return {node id: {"class_type", "inputs", "_meta": {"title"}}}; ValueError says which node cannot be sent."""
    workflow = without_bypassed(workflow)
    links = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    nodes = (node for node in workflow["nodes"] if node["type"] not in NOTES)
    return {str(node["id"]): _api_node(node, object_info, links) for node in nodes}


def _api_node(node: dict, object_info: dict, links: dict) -> dict:
    kind, name = node["type"], f"{node['type']} (node {node['id']})"
    if node.get("mode") == MUTED:
        raise ValueError(f"{name} is muted. Delete it or turn it on before sending.")
    if kind not in object_info:
        raise ValueError(f"{name}: this ComfyUI has no such node.")
    saved = node.get("widgets_values") or []
    if isinstance(saved, dict):
        inputs = dict(saved)
    else:
        rest = list(saved)
        try:
            inputs = dict(_take_widgets(object_info[kind]["input"], rest, ""))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        if any(value is not None for value in rest):
            raise ValueError(f"{name}: saved values {rest} belong to no widget; save the workflow again in ComfyUI")
    inputs |= {slot["name"]: links[slot["link"]] for slot in node.get("inputs", ()) if slot.get("link") is not None}
    title = node.get("title") or object_info[kind].get("display_name") or kind
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": title}}


def _take_widgets(spec: dict, saved: list, prefix: str) -> Iterator[tuple[str, object]]:
    """Yield inputs by name, with values from the front of `saved`; beside some widgets is a value that is no input."""
    for name, (kind, options) in _inputs(spec):
        if kind == UPLOAD_BUTTON:
            del saved[:1]
        if options.get("forceInput") or not (isinstance(kind, list) or kind in WIDGET_TYPES | {DYNAMIC_COMBO}):
            continue
        if not saved and options.get(OPTIONAL):
            continue  # saved before the node had it: the node runs with its default, as in the frontend
        if not saved:
            raise ValueError(f"no saved value for widget '{prefix}{name}'; save the workflow again in ComfyUI")
        value = saved.pop(0)
        yield prefix + name, value
        if kind == DYNAMIC_COMBO:
            chosen = next((o for o in options["options"] if o["key"] == value), None)
            if chosen is None:
                raise ValueError(f"'{prefix}{name}' has no option '{value}'")
            yield from _take_widgets(chosen["inputs"], saved, f"{prefix}{name}.")
        if options.get("control_after_generate", name in SEEDS) and saved and saved[0] in SEED_CONTROLS:
            del saved[0]


def _inputs(spec: dict) -> Iterator[tuple[str, tuple]]:
    """Yield (name, (type, options)) in the frontend's order; it puts an upload button after the required ones."""
    for group in ("required", "optional"):
        entries = {name: (*entry, {})[:2] for name, entry in spec.get(group, {}).items()}
        for name, (kind, options) in entries.items():
            yield name, (kind, {**options, OPTIONAL: group == "optional"})
        if group == "required" and any(options.get(flag) for _, options in entries.values() for flag in UPLOAD_FLAGS):
            yield "upload", (UPLOAD_BUTTON, {})
