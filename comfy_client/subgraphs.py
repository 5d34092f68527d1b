"""The nodes in the subgraphs of a saved workflow, as though they stood in the workflow itself."""

from typing import Any

INPUT, OUTPUT = -10, -20  # ComfyUI's ids of a subgraph's two ends
PROMOTED = "promoted"
Source = tuple[str, int]  # a node's id and the number of its output


def flatten(workflow: dict) -> dict:
    """Return the workflow with what is in its subgraphs in their place; as it is if it has none.

    The nodes inside have ids as in ComfyUI's prompts, such as "7:3". PROMOTED is by node id what the node of the
    subgraph says of widgets inside, by name.
    """
    inside = {subgraph["id"]: subgraph for subgraph in workflow.get("definitions", {}).get("subgraphs", ())}
    if not any(node["type"] in inside for node in workflow["nodes"]):
        return workflow
    flat = _Flattening(inside)
    flat.add(workflow["nodes"], [_as_dict(link) for link in workflow["links"]], "", {}, {})
    return {**workflow, "nodes": flat.nodes, "links": flat.links, PROMOTED: flat.values}


class _Flattening:
    def __init__(self, inside: dict[str, dict]):
        self.inside = inside
        self.nodes: list[dict] = []
        self.links: list[list] = []
        self.values: dict[str, dict[str, Any]] = {}

    def add(
        self, nodes: list[dict], links: list[dict], prefix: str, given: dict[int, Source], told: dict[int, Any]
    ) -> dict[int, Source]:
        """Add the nodes of one graph, and return the source of each of its outputs.

        given, told: the source, and the widget's value, of each of its inputs that has one.
        """
        by_id = {link["id"]: link for link in links}
        ends: dict[tuple[int, int], Source] = {}  # by id of a subgraph's node here, and number of the output

        def source(link: dict) -> Source | None:
            if link["origin_id"] == INPUT:
                return given.get(link["origin_slot"])
            return ends.get(
                (link["origin_id"], link["origin_slot"]), (f"{prefix}{link['origin_id']}", link["origin_slot"])
            )

        for node in sorted(nodes, key=lambda node: node["type"] not in self.inside):
            if node["type"] in self.inside:
                self._enter(node, by_id, source, prefix, ends)
        for node in nodes:
            if node["type"] not in self.inside:
                self._copy(node, by_id, source, prefix, told)
        outputs = (link for link in links if link["target_id"] == OUTPUT)
        return {link["target_slot"]: found for link in outputs if (found := source(link))}

    def _enter(self, node: dict, links: dict, source, prefix: str, ends: dict) -> None:
        subgraph = self.inside[node["type"]]
        slots = {slot["name"]: index for index, slot in enumerate(subgraph["inputs"])}
        given, told = {}, {}
        for slot in node["inputs"]:
            if slot.get("link") is not None and (found := source(links[slot["link"]])):
                given[slots[slot["name"]]] = found
        widgets = [slot["name"] for slot in node["inputs"] if "widget" in slot]
        for name, value in zip(widgets, node.get("widgets_values") or (), strict=False):
            told[slots[name]] = value
        outputs = self.add(subgraph["nodes"], subgraph["links"], f"{prefix}{node['id']}:", given, told)
        ends |= {(node["id"], index): found for index, found in outputs.items()}

    def _copy(self, node: dict, links: dict, source, prefix: str, told: dict[int, Any]) -> None:
        key = f"{prefix}{node['id']}"
        inputs = []
        for index, slot in enumerate(node.get("inputs", ())):
            link = links.get(slot.get("link"))
            found = source(link) if link else None
            if link and not found and link["origin_slot"] in told:
                self.values.setdefault(key, {})[slot["name"]] = told[link["origin_slot"]]
            if link and found:
                self.links.append([len(self.links) + 1, *found, key, index, link["type"]])
            inputs.append({**slot, "link": len(self.links) if found else None})
        self.nodes.append({**node, "id": key, "inputs": inputs})


def _as_dict(link: list | dict) -> dict:
    names = "id", "origin_id", "origin_slot", "target_id", "target_slot", "type"
    return link if isinstance(link, dict) else dict(zip(names, link, strict=True))
