"""Bypassed nodes of a saved workflow, left out as ComfyUI's page does: what goes in comes out where it is alike."""

BYPASSED = 4  # the mode of a node


def without_bypassed(workflow: dict) -> dict:
    """Return the workflow without its bypassed nodes; it is itself if it has none.

    An output is led on from the input in the same place, or else the first one, of its type.
    """
    passed = {node["id"]: node for node in workflow["nodes"] if node.get("mode") == BYPASSED}
    if not passed:
        return workflow
    by_id = {link[0]: link for link in workflow["links"]}

    def source(link: list) -> list | None:
        """Return the link that brings what this one carries, None if nothing does."""
        node = passed.get(link[1])
        if node is None:
            return link
        alike = [slot for slot in node["inputs"] if slot["type"] == link[5]]
        if link[2] < len(node["inputs"]) and node["inputs"][link[2]] in alike:
            alike.insert(0, node["inputs"][link[2]])
        before = by_id.get(alike[0]["link"]) if alike else None
        return source(before) if before else None

    links = []
    for link in workflow["links"]:
        start = None if link[3] in passed else source(link)
        if start:
            links.append([link[0], *start[1:3], *link[3:]])
    kept = {link[0] for link in links}
    nodes = [_connected(node, kept) for node in workflow["nodes"] if node["id"] not in passed]
    return {**workflow, "nodes": nodes, "links": links}


def _connected(node: dict, kept: set) -> dict:
    """Return the node with the links that there are."""
    inputs = [{**slot, "link": slot.get("link") if slot.get("link") in kept else None} for slot in node["inputs"]]
    return {**node, "inputs": inputs}
