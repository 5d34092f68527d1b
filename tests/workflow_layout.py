"""Where ComfyUI's canvas draws the nodes, groups and wires of a saved workflow.

The geometry is that of the classic canvas: slots are 20 pixels apart, the title stands above a node's `pos`, a wire is
a Bezier curve whose control points lie a quarter of its length to the right of its start and to the left of its end.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np

SLOT, TITLE, WIDGET = 20, 30, 24
SAMPLES = 24
LONGEST_CONTROL = 80  # of the curve at a reroute
NOTES = {"MarkdownNote", "Note"}


class Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def grown(self, by: float) -> "Box":
        return Box(self.left - by, self.top - by, self.right + by, self.bottom + by)

    def holds(self, other: "Box") -> bool:
        corners = (self.left, self.top, -self.right, -self.bottom), (other.left, other.top, -other.right, -other.bottom)
        return all(outer <= inner for outer, inner in zip(*corners, strict=True))

    def meets(self, other: "Box") -> bool:
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


class Wire(NamedTuple):
    """A link: (node id, slot) at both ends, the slots' names, and its curve [N, 2]."""

    start: tuple
    end: tuple
    names: str
    curve: np.ndarray


def node_box(node: dict) -> Box:
    """Return what a node covers, with its title."""
    (x, y), (width, height) = node["pos"], node["size"]
    return Box(x, y - TITLE, x + width, y + height)


def group_box(group: dict) -> Box:
    x, y, width, height = group["bounding"]
    return Box(x, y, x + width, y + height)


def input_point(node: dict, slot: int) -> np.ndarray:
    """Return where the wire ends: at a socket, or at the row of the widget that it replaces."""
    inputs = node["inputs"]
    sockets = [i for i, entry in enumerate(inputs) if "widget" not in entry]
    if slot in sockets:
        row = (sockets.index(slot) + 0.7) * SLOT
    else:
        widgets = [i for i, entry in enumerate(inputs) if "widget" in entry]
        row = (max(len(sockets), len(node["outputs"])) + 0.5) * SLOT + widgets.index(slot) * WIDGET
    return np.array([node["pos"][0], node["pos"][1] + row], float)


def wires(workflow: dict) -> list[Wire]:
    """Return all wires, those of one output slot one after the other."""
    nodes = {node["id"]: node for node in workflow["nodes"]}
    extra = workflow.get("extra", {})
    reroutes = {entry["id"]: entry for entry in extra.get("reroutes", ())}
    last = {entry["id"]: entry["parentId"] for entry in extra.get("linkExtensions", ())}
    found = []
    for link, source, out, target, into, _ in workflow["links"]:
        start = np.array(nodes[source]["pos"], float) + (nodes[source]["size"][0], (out + 0.7) * SLOT)
        points = [start, *bends(reroutes, last.get(link)), input_point(nodes[target], into)]
        names = f"{nodes[source]['outputs'][out]['name']} -> {nodes[target]['inputs'][into]['name']}"
        found.append(Wire((source, out), (target, into), names, curve(points)))
    return found


def bends(reroutes: dict, last: int | None) -> list[np.ndarray]:
    """Return the points that a wire is led through, from its start on; each names the one before it."""
    points = []
    while last is not None:
        points.insert(0, np.array(reroutes[last]["pos"], float))
        last = reroutes[last].get("parentId")
    return points


def curve(points: list[np.ndarray]) -> np.ndarray:
    """Return the curve [N, 2] through the points: level at both ends, half-way between its legs at a bend."""
    pieces = [_bezier(a, a + out, b - into, b) for (a, out, _), (b, _, into) in itertools.pairwise(_controls(points))]
    return np.concatenate(pieces)


def _controls(points: list[np.ndarray]) -> list[tuple]:
    """Return each point with how far its control points lie after and before it."""
    legs = [b - a for a, b in itertools.pairwise(points)]
    lengths = [max(math.hypot(*leg), 1e-9) for leg in legs]
    level = [np.array([length / 4, 0.0]) for length in lengths]
    found = [(points[0], level[0], None)]
    for i, point in enumerate(points[1:-1]):
        way = legs[i] / lengths[i] + legs[i + 1] / lengths[i + 1]
        way = way / max(math.hypot(*way), 1e-9)
        out, into = (way * min(LONGEST_CONTROL, lengths[k] / 4) for k in (i + 1, i))
        found.append((point, out, into))
    return [*found, (points[-1], None, level[-1])]


def _bezier(a, b, c, d) -> np.ndarray:
    t = np.linspace(0, 1, SAMPLES + 1)[:, None]
    return (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d


def crossings(found: list[Wire]) -> list[str]:
    """Return which wires cross, as "this x that".

    Wires of one output are one wire; between the same two nodes they cross where their slots have another order, which
    no layout can change.
    """
    return [
        f"{a.names} x {b.names}"
        for a, b in itertools.combinations(found, 2)
        if a.start != b.start and (a.start[0], a.end[0]) != (b.start[0], b.end[0]) and meet(a.curve, b.curve)
    ]


def meet(a: np.ndarray, b: np.ndarray) -> bool:
    """Return whether two curves [N, 2] and [M, 2] cross."""
    p, r = a[:-1, None], np.diff(a, axis=0)[:, None]
    q, s = b[None, :-1], np.diff(b, axis=0)[None]
    denominator = _cross(r, s)
    safe = np.where(denominator == 0, np.inf, denominator)
    t, u = _cross(q - p, s) / safe, _cross(q - p, r) / safe
    return bool(((denominator != 0) & (t >= 0) & (t <= 1) & (u >= 0) & (u <= 1)).any())


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def covered(workflow: dict, found: list[Wire], margin: float) -> list[str]:
    """Return which wires come nearer than `margin` pixels to a node that they do not belong to."""
    boxes = {node["id"]: node_box(node).grown(margin) for node in workflow["nodes"]}
    names = {node["id"]: node.get("title") or node["type"] for node in workflow["nodes"]}
    return [
        f"{wire.names} over {names[key]}"
        for wire in found
        for key, box in boxes.items()
        if key not in (wire.start[0], wire.end[0]) and _inside(wire.curve, box)
    ]


def _inside(points: np.ndarray, box: Box) -> bool:
    """Return whether the curve enters the box; it is sampled finely enough that no node fits between two samples."""
    fine = np.concatenate([np.linspace(a, b, 8) for a, b in itertools.pairwise(points)])
    x, y = fine.T
    return bool(((x > box.left) & (x < box.right) & (y > box.top) & (y < box.bottom)).any())
