"""What an artist reads in ComfyUI's menu: every node of the pack is there and explains itself."""

from pathlib import Path

from steadydancer_pack.tests.pack_nodes import pack_nodes

NODES = (Path(__file__).resolve().parents[2] / "docs" / "nodes.md").read_text("utf-8")


def inputs(info: dict):
    """Yield (name, options) of every input, also of those that a dynamic combo's options bring."""
    for group in ("required", "optional"):
        for name, (_, options) in info.get(group, {}).items():
            yield name, options
            for option in options.get("options", ()):
                if isinstance(option, dict):
                    yield from inputs(option["inputs"])


def faults(node_id: str, info: dict) -> list[str]:
    """Return what a node leaves unexplained."""
    rules = {
        "id without the prefix SteadyDancer": not node_id.startswith("SteadyDancer"),
        "no display name": info["display_name"] in (None, "", node_id),
        "category outside SteadyDancer/": not info["category"].startswith("SteadyDancer/"),
        "no description": not info["description"],
        "not in docs/nodes.md": info["display_name"] not in NODES,
    }
    silent = [f"no tooltip on {name}" for name, options in inputs(info["input"]) if not options.get("tooltip")]
    return [rule for rule, broken in rules.items() if broken] + silent


def test_the_pack_brings_exactly_its_list_of_nodes(server):
    assert server.pack_info().keys() == {node.GET_SCHEMA().node_id for node in pack_nodes()} != set()


def test_every_node_explains_itself(server):
    assert {name: found for name, info in server.pack_info().items() if (found := faults(name, info))} == {}
