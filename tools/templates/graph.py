"""A workflow or a subgraph as ComfyUI's page saves it, put together from nodes by the names of their inputs.

Ids are counted and so the same in every run; values that are not given are the defaults of the nodes.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from steadydancer_pack.comfy_client.api_prompt import DYNAMIC_COMBO, SEEDS, UPLOAD_FLAGS, WIDGET_TYPES
from steadydancer_pack.comfy_client.subgraphs import INPUT, OUTPUT

VIEW = {"ds": {"scale": 0.6, "offset": [130, 120]}}  # where the page opens a file: right of its buttons
SLOT = 20  # px from one socket of a subgraph's end to the next
NAMESPACE = "https://github.com/steadydancer/"


class Model(NamedTuple):
    """A file that the page offers to download: its name, its folder and its link."""

    name: str
    directory: str
    url: str


class Node:
    """A node in a graph: `node["pose_frames"]` is its output of that name."""

    def __init__(self, data: dict, spec: Mapping | None):
        self.data, self.spec = data, spec

    def __getitem__(self, output: str) -> "Output":
        names = [slot["name"] for slot in self.data["outputs"]]
        return Output(self, names.index(output))


class Output(NamedTuple):
    """An output of a node, or with node None an input of the subgraph around."""

    node: Node | None
    slot: int


class Graph:
    """Nodes and links; `info` is what ComfyUI's server tells of its nodes, `versions` the pack's and ComfyUI's."""

    def __init__(self, info: Mapping[str, dict], versions: Mapping[str, str], name: str):
        self.info, self.versions, self.name = info, versions, name
        self.nodes: list[Node] = []
        self.links: list[dict] = []
        self.subgraphs: list[dict] = []
        self.form: dict = {}

    def add(
        self,
        kind: str,
        place: Sequence[int],
        size: Sequence[int],
        values: Mapping[str, Any] = {},
        title: str = "",
        models: Sequence[Model] = (),
        links: Mapping[str, Output] = {},
        **sources: Output,
    ) -> Node:
        """Add a node at `place` (x, y) of `size` (width, height), with `links` and `sources` to its inputs."""
        info = self.info[kind]
        spec = {**info["input"].get("required", {}), **info["input"].get("optional", {})}
        pack = "steadydancer" if kind.startswith("SteadyDancer") else "comfy-core"
        outputs = zip(info["output_name"], info["output"], strict=True)
        properties: dict[str, Any] = {"cnr_id": pack, "ver": self.versions[pack], "Node name for S&R": kind}
        if models:
            properties["models"] = [model._asdict() for model in models]
        data = {
            **self._frame(kind, place, size),
            "inputs": list(_sockets(info["input"])),
            "outputs": [{"name": name, "type": type_, "links": []} for name, type_ in outputs],
            "properties": properties,
            "widgets_values": list(_values(info["input"], dict(values))),
        }
        if title:
            data["title"] = title
        return self._keep(Node(data, spec), {**links, **sources})

    def note(self, title: str, text: str, place: Sequence[int], size: Sequence[int]) -> None:
        """Add a note in Markdown."""
        kind = "MarkdownNote"
        properties = {"cnr_id": "comfy-core", "ver": self.versions["comfy-core"], "Node name for S&R": kind}
        data = {**self._frame(kind, place, size), "inputs": [], "outputs": [], "properties": properties}
        data |= {"widgets_values": [text], "title": title, "color": "#432", "bgcolor": "#653"}
        self._keep(Node(data, None), {})

    def enter(self, inside: "Subgraph", place: Sequence[int], size: Sequence[int], links: Mapping[str, Output]) -> Node:
        """Add the node that stands for a subgraph; its widgets are the promoted ones inside."""
        definition = inside.as_dict()
        self.subgraphs.append(definition)
        inputs = []
        for slot in definition["inputs"]:
            entry = {"name": slot["name"], "type": slot["type"], "link": None}
            entry |= {"label": slot["label"]} if "label" in slot else {}
            inputs.append(entry | ({"widget": {"name": slot["name"]}} if slot["name"] in inside.promoted else {}))
        outputs = [{"name": slot["name"], "type": slot["type"], "links": []} for slot in definition["outputs"]]
        proxies = [[str(node.data["id"]), widget] for node, widget in inside.promoted.values()]
        properties = {"proxyWidgets": proxies, "cnr_id": "steadydancer", "ver": self.versions["steadydancer"]}
        data = {**self._frame(definition["id"], place, size), "inputs": inputs, "outputs": outputs}
        data |= {"properties": properties, "widgets_values": [], "title": inside.title}
        return self._keep(Node(data, None), links)

    def group(self, title: str, nodes: Sequence[Node], color: str) -> dict:
        """Return a group around the nodes."""
        boxes = [(*node.data["pos"], *node.data["size"]) for node in nodes]
        left, top = min(x for x, *_ in boxes) - 20, min(y for _, y, *_ in boxes) - 70
        right, bottom = max(x + w for x, _, w, _ in boxes) + 20, max(y + h for _, y, _, h in boxes) + 20
        return {"title": title, "bounding": [left, top, right - left, bottom - top], "color": color, "font_size": 24}

    def link(self, source: Output, node: Node, name: str) -> None:
        """Link a source to the input of a node, which stands for its widget if it is one."""
        slot, key = self._socket(node, name), len(self.links) + 1
        slot["link"] = key
        origin, kind = INPUT, slot["type"]
        if source.node:
            origin, kind = source.node.data["id"], source.node.data["outputs"][source.slot]["type"]
        ends = {"origin_id": origin, "origin_slot": source.slot, "target_id": node.data["id"]}
        self.links.append({"id": key, **ends, "target_slot": node.data["inputs"].index(slot), "type": kind})
        if source.node:
            source.node.data["outputs"][source.slot]["links"].append(key)

    def workflow(self, view: Mapping[str, Any], groups: Sequence[dict] = ()) -> dict:
        """Return the workflow's file."""
        order = "id", "origin_id", "origin_slot", "target_id", "target_slot", "type"
        whole = {
            "id": self.uuid(""), "revision": 0, "last_node_id": len(self.nodes), "last_link_id": len(self.links),
            "nodes": [node.data for node in self.nodes],
            "links": [[link[name] for name in order] for link in self.links],
            "groups": [{"id": number, **group, "flags": {}} for number, group in enumerate(groups, 1)],
        }  # fmt: skip
        if self.subgraphs:
            whole["definitions"] = {"subgraphs": self.subgraphs}
        return {**whole, "config": {}, "extra": {**view, **self.form}, "version": 0.4}

    def app_mode(self, fields: Sequence[tuple[Node, str, str]], result: Node) -> None:
        """Let App mode show a form: fields as (node, widget, label, "" for its own), and what `result` makes.

        The workflow opens as a graph; a file whose linearMode is true opens as the form, and ends in .app.json.
        """
        for node, widget, label in fields:
            if label:
                self._socket(node, widget)["label"] = label
        inputs = [[str(node.data["id"]), widget] for node, widget, _ in fields]
        self.form = {"linearMode": False, "linearData": {"inputs": inputs, "outputs": [str(result.data["id"])]}}

    def uuid(self, part: str) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{NAMESPACE}{self.name}/{part}"))

    @staticmethod
    def _socket(node: Node, name: str) -> dict:
        """Return the input of the node; it is made where it is that of a widget, which has none before."""
        for slot in node.data["inputs"]:
            if slot["name"] == name:
                return slot
        kind = _type(dict(_every(node.spec or {}))[name])
        node.data["inputs"].append({"name": name, "type": kind, "widget": {"name": name}, "link": None})
        return node.data["inputs"][-1]

    def _frame(self, kind: str, place: Sequence[int], size: Sequence[int]) -> dict:
        key = len(self.nodes) + 1
        return {
            "id": key, "type": kind, "pos": list(place), "size": list(size), "flags": {}, "order": key - 1, "mode": 0,
        }  # fmt: skip

    def _keep(self, node: Node, sources: Mapping[str, Output]) -> Node:
        self.nodes.append(node)
        for name, source in sources.items():
            self.link(source, node, name)
        return node


class Subgraph(Graph):
    """A subgraph: `take` and `promote` make its inputs, `give` its outputs."""

    def __init__(self, outer: Graph, name: str, description: str, category: str = "SteadyDancer"):
        super().__init__(outer.info, outer.versions, f"{outer.name}/{name}")
        self.title, self.description, self.category = name, description, category
        self.entries: list[dict] = []
        self.exits: list[dict] = []
        self.promoted: dict[str, tuple[Node, str]] = {}

    def take(self, name: str, *targets: tuple[Node, str]) -> None:
        """Give the subgraph an input that leads to the inputs `targets` inside."""
        self._enter(name, "", targets)

    def promote(self, label: str, node: Node, widget: str) -> None:
        """Show a widget of a node inside on the subgraph's node, as `label`."""
        name = widget if widget not in self.promoted else f"{widget}_{len(self.promoted)}"
        self._enter(name, label, [(node, widget)])
        self.promoted[name] = node, widget

    def give(self, name: str, node: Node, output: str) -> None:
        """Give the subgraph an output: that of a node inside."""
        slot, key = node[output].slot, len(self.links) + 1
        kind = node.data["outputs"][slot]["type"]
        ends = {"origin_id": node.data["id"], "origin_slot": slot, "target_id": OUTPUT}
        self.links.append({"id": key, **ends, "target_slot": len(self.exits), "type": kind})
        node.data["outputs"][slot]["links"].append(key)
        self.exits.append({"name": name, "type": kind, "linkIds": [key]})

    def as_dict(self) -> dict:
        """Return the definition that a workflow holds."""
        boxes = [(*node.data["pos"], *node.data["size"]) for node in self.nodes]
        left, right = min(x for x, *_ in boxes) - 260, max(x + w for x, _, w, _ in boxes) + 120
        ends = []
        for kind, slots, x in (("in", self.entries, left), ("out", self.exits, right)):
            for index, slot in enumerate(slots):
                slot |= {"id": self.uuid(f"{kind}/{slot['name']}"), "pos": [x + 100, SLOT * (index + 1) + 4]}
            ends.append({"id": INPUT if kind == "in" else OUTPUT, "bounding": [x, 0, 140, SLOT * (len(slots) + 2)]})
        state = {
            "lastGroupId": 0, "lastNodeId": len(self.nodes), "lastLinkId": len(self.links), "lastRerouteId": 0,
        }  # fmt: skip
        return {
            "id": self.uuid("subgraph"), "version": 1, "state": state, "revision": 0, "config": {}, "name": self.title,
            "inputNode": ends[0], "outputNode": ends[1], "inputs": self.entries, "outputs": self.exits, "widgets": [],
            "nodes": [node.data for node in self.nodes], "groups": [], "links": self.links, "extra": {},
            "category": self.category, "description": self.description,
        }  # fmt: skip

    def _enter(self, name: str, label: str, targets: Sequence[tuple[Node, str]]) -> None:
        slot, first = len(self.entries), len(self.links) + 1
        for node, target in targets:
            self.link(Output(None, slot), node, target)
        ids = list(range(first, len(self.links) + 1))
        entry = {"name": name, "type": self.links[-1]["type"], "linkIds": ids}
        self.entries.append(entry | ({"label": label} if label else {}))


def _every(spec: Mapping, prefix: str = "") -> Iterator[tuple[str, list]]:
    """Yield the inputs of a node by name, those below a choice as choice.input."""
    for name, entry in spec.items():
        yield f"{prefix}{name}", entry
        if entry[0] == DYNAMIC_COMBO:
            for option in entry[1]["options"]:
                groups = option["inputs"]
                yield from _every({**groups.get("required", {}), **groups.get("optional", {})}, f"{prefix}{name}.")


def _type(entry: Sequence) -> str:
    return "COMBO" if isinstance(entry[0], list) else entry[0]


def _is_widget(entry: Sequence) -> bool:
    options = entry[1] if len(entry) > 1 else {}
    return _type(entry) in WIDGET_TYPES | {DYNAMIC_COMBO} and not options.get("forceInput")


def _sockets(groups: Mapping) -> Iterator[dict]:
    for group in ("required", "optional"):
        for name, entry in groups.get(group, {}).items():
            if not _is_widget(entry):
                yield {"name": name, "type": entry[0], "link": None} | ({"shape": 7} if group == "optional" else {})


def _values(groups: Mapping, given: dict[str, Any], prefix: str = "") -> Iterator[Any]:
    """Yield the saved values of a node's widgets, and of those that the page puts beside them; takes from `given`."""
    for group in ("required", "optional"):
        uploads = False
        for name, entry in groups.get(group, {}).items():
            options = entry[1] if len(entry) > 1 else {}
            uploads |= any(options.get(flag) for flag in UPLOAD_FLAGS)
            if not _is_widget(entry):
                continue
            value = given.pop(f"{prefix}{name}", _default(entry))
            yield value
            if entry[0] == DYNAMIC_COMBO:
                (chosen,) = (option for option in options["options"] if option["key"] == value)
                yield from _values(chosen["inputs"], given, f"{prefix}{name}.")
            if options.get("control_after_generate", name in SEEDS):
                yield "fixed"
        if uploads:
            yield "image"
    if given and not prefix:
        raise ValueError(f"There are no widgets {', '.join(given)}.")


def _default(entry: Sequence) -> Any:
    options = entry[1] if len(entry) > 1 else {}
    if "default" in options:
        return options["default"]
    choices = entry[0] if isinstance(entry[0], list) else options.get("options", [None])
    first = choices[0] if choices else ""
    return first["key"] if isinstance(first, dict) else first
