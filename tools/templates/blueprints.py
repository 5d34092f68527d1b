"""The blueprints that are made from the same subgraphs as the workflows, with the words that they are searched by."""

from collections.abc import Mapping, Sequence

from .artist import TEMPLATES
from .finish import finish_chain
from .graph import Graph, Subgraph
from .parts import large_model

FINISH = [
    "finish", "interpolation", "smooth motion", "60 fps", "30 fps", "24 fps", "frame rate", "upscale video", "rife",
    "slow motion", "\u63d2\u5e27", "\u653e\u5927\u89c6\u9891",
]  # fmt: skip
DANCE = [
    "dance", "dancing", "animate", "motion transfer", "character animation", "animate anyone", "tiktok", "wan",
    "\u821e\u8e48", "\u52a8\u4f5c\u8fc1\u79fb",
]  # fmt: skip
SIZE = 380, 300


def blueprints(info: Mapping[str, dict], versions: Mapping[str, str]) -> dict[str, dict]:
    """Return the blueprints by the names of their files, which the page shows."""
    finish, dance = (Graph(info, versions, f"blueprint/{name}") for name in ("finish", "steadydancer"))
    return {
        "Finish": blueprint(finish, finish_chain(finish), FINISH),
        "SteadyDancer": blueprint(dance, large_model(dance, TEMPLATES["fast_4_steps"].setup), DANCE),
    }


def blueprint(graph: Graph, inside: Subgraph, aliases: Sequence[str]) -> dict:
    """Return the file of one node that stands for the subgraph."""
    host = graph.enter(inside, (0, 0), SIZE)
    (definition,) = graph.subgraphs
    definition["extra"] = {"BlueprintSearchAliases": list(aliases)}
    return {
        "revision": 0, "last_node_id": 1, "last_link_id": 0, "nodes": [host.data], "links": [], "version": 0.4,
        "definitions": {"subgraphs": [definition]},
    }  # fmt: skip
