"""What a saved workflow holds of the pack's nodes: which widget a value belongs to, and which socket a link.

ComfyUI's page saves the values of a node's widgets by position. It finds the start of a link by the number of the
output, its end by the name of the input.
"""

from pathlib import Path

from steadydancer_pack.tests.pack_nodes import pack_nodes

PINNED = Path(__file__).with_name("golden") / "saved_widgets.json"
WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}


def saved_by_nodes() -> dict[str, dict]:
    """Return, for each node, its widgets as [name, type], the choices of each list, its sockets and its outputs."""
    return {node.GET_SCHEMA().node_id: _saved(node) for node in pack_nodes()}


def _saved(node: type) -> dict:
    """The page draws the widgets of optional inputs after those of all required ones."""
    groups = node.INPUT_TYPES()
    inputs = groups.get("required", {}) | groups.get("optional", {})
    specs = {name: (spec[0], *spec[1:], {})[:2] for name, spec in inputs.items()}
    widgets = {name: spec for name, spec in specs.items() if _is_widget(*spec)}
    return {
        "widgets": [entry for name, spec in widgets.items() for entry in _values(name, *spec)],
        "choices": {name: list(options["options"]) for name, (kind, options) in widgets.items() if kind == "COMBO"},
        "sockets": {name: kind for name, (kind, _) in specs.items() if name not in widgets},
        "outputs": [list(pair) for pair in zip(node.RETURN_NAMES, node.RETURN_TYPES, strict=True)],
    }


def _is_widget(kind: str, options: dict) -> bool:
    return kind in WIDGETS and not options.get("forceInput")


def _values(name: str, kind: str, options: dict) -> list[list[str]]:
    """Return [name, type] of each value that a widget saves: its own, and of the one that the page adds below it."""
    added = "control_after_generate"
    return [[name, kind], [added, "COMBO"]] if options.get(added) else [[name, kind]]
