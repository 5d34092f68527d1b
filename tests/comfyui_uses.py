"""What the pack's code uses of ComfyUI: every name, and how it is called, read from the syntax of the code.

The shape of a call: "_" for each value given by position, "name=" for each given by name, "..." if more come from a
list or a table. Calls of a name with as many values by position are one shape. `python tests/comfyui_uses.py` brings
tests/comfyui_contract.json up to date, but for the rows that are kept by hand.
"""

import ast
import json
from collections.abc import Iterator
from pathlib import Path

PACK = Path(__file__).resolve().parents[1]
CONTRACT = PACK / "tests" / "comfyui_contract.json"
METHOD, OVERRIDDEN = "method ", "def "  # rows kept by hand begin so
FOLDERS = (
    *("comfy_client", "doctor", "dwpose", "evaluation", "media", "miniature", "nodes"),
    *("steadydancer_core", "training"),
)
COMFYUI = {"comfy", "comfy_api", "folder_paths", "latent_preview", "node_helpers", "nodes"}

Place = tuple[int, bool]  # values by position, whether more may come
Call = tuple[Place, frozenset[str]]


def files() -> list[Path]:
    """Return the files of the pack that users run."""
    return [PACK / "__init__.py", *(file for folder in FOLDERS for file in (PACK / folder).rglob("*.py"))]


def uses() -> dict[str, str]:
    """Return the shapes of the calls of each name, in brackets; "" for a name that is not called."""
    calls: dict[str, dict[Place, frozenset[str]]] = {}
    for file in files():
        for name, call in _uses_in(ast.parse(file.read_text("utf-8"))):
            shapes = calls.setdefault(name, {})
            if call:
                place, names = call
                shapes[place] = shapes.get(place, frozenset()) | names
    return {name: _written(calls[name]) for name in sorted(calls)}


def _written(shapes: dict[Place, frozenset[str]]) -> str:
    rows = []
    for (count, more), names in sorted(shapes.items()):
        values = ["_"] * count + [f"{name}=" for name in sorted(names)]
        rows.append(f"({', '.join([*values, '...'] if more else values)})")
    return " ".join(rows)


def _uses_in(tree: ast.Module) -> Iterator[tuple[str, Call | None]]:
    nodes = list(ast.walk(tree))
    known = dict(pair for node in nodes for pair in _imported(node))
    inner = {node.value for node in nodes if isinstance(node, ast.Attribute)}
    calls = {node.func: node for node in nodes if isinstance(node, ast.Call)}
    for node in nodes:
        name = "" if node in inner else _full_name(node, known)
        if "." in name:
            yield name, _call(calls[node]) if node in calls else None


def _imported(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield (name here, full name) of what is imported from ComfyUI."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            top = alias.name.partition(".")[0]
            if top in COMFYUI:
                yield (alias.asname, alias.name) if alias.asname else (top, top)
    elif isinstance(node, ast.ImportFrom) and not node.level and str(node.module).partition(".")[0] in COMFYUI:
        for alias in node.names:
            yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _full_name(node: ast.AST, known: dict[str, str]) -> str:
    """Return the full name that an expression stands for, "" if it is not ComfyUI's."""
    if isinstance(node, ast.Attribute):
        owner = _full_name(node.value, known)
        return f"{owner}.{node.attr}" if owner else ""
    return known.get(node.id, "") if isinstance(node, ast.Name) else ""


def _call(call: ast.Call) -> Call:
    names = {keyword.arg for keyword in call.keywords}
    starred = sum(isinstance(value, ast.Starred) for value in call.args)
    place = len(call.args) - starred, bool(starred) or None in names
    return place, frozenset(name for name in names if name)


if __name__ == "__main__":
    kept = json.loads(CONTRACT.read_text("utf-8")).items()
    rows = uses() | {name: row for name, row in kept if row.startswith((METHOD, OVERRIDDEN))}
    CONTRACT.write_text(json.dumps(dict(sorted(rows.items())), indent=1) + "\n", encoding="utf-8")
