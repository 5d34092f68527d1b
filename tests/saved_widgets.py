"""What a saved workflow holds of the pack's nodes: which widget a value belongs to, and which socket a link.

ComfyUI's page saves the values of a node's widgets by position. It finds the start of a link by the number of the
output, its end by the name of the input.
"""

from pathlib import Path

from steadydancer_pack.tests.pack_nodes import pack_nodes

PINNED = Path(__file__).with_name("golden") / "saved_widgets.json"
DYNAMIC_COMBO = "COMFY_DYNAMICCOMBO_V3"
WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", DYNAMIC_COMBO}


def saved_by_nodes() -> dict[str, dict]:
    """Return, for each node, its widgets as [name, type], the choices of each list, its sockets and its outputs.

    A choice that shows widgets of its own is listed with them: their values follow that of the list.
    """
    return {node.GET_SCHEMA().node_id: _saved(node) for node in pack_nodes()}


def _saved(node: type) -> dict:
    """The page draws the widgets of optional inputs after those of all required ones."""
    specs = _specs(node.INPUT_TYPES())
    widgets = {name: spec for name, spec in specs.items() if _is_widget(*spec)}
    return {
        "widgets": [entry for name, spec in widgets.items() for entry in _values(name, *spec)],
        "choices": {name: _choices(options) for name, (_, options) in widgets.items() if "options" in options},
        "sockets": {name: kind for name, (kind, _) in specs.items() if name not in widgets},
        "outputs": [list(pair) for pair in zip(node.RETURN_NAMES, node.RETURN_TYPES, strict=True)],
    }


def _specs(groups: dict) -> dict[str, tuple]:
    inputs = groups.get("required", {}) | groups.get("optional", {})
    return {name: (spec[0], *spec[1:], {})[:2] for name, spec in inputs.items()}


def _choices(options: dict) -> list | dict:
    """Return the choices of a list, or for each the widgets that it shows."""
    if not any(isinstance(choice, dict) for choice in options["options"]):
        return list(options["options"])
    return {
        choice["key"]: [entry for name, spec in _specs(choice["inputs"]).items() for entry in _values(name, *spec)]
        for choice in options["options"]
    }


def _is_widget(kind: str, options: dict) -> bool:
    return kind in WIDGETS and not options.get("forceInput")


def _values(name: str, kind: str, options: dict) -> list[list[str]]:
    """Return [name, type] of each value that a widget saves: its own, and of the one that the page adds below it."""
    added = "control_after_generate"
    return [[name, kind], [added, "COMBO"]] if options.get(added) else [[name, kind]]
