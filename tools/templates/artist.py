"""The shipped workflows: those of six visible nodes as tables, the others as `stages` builds them."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from . import files, stages
from .graph import Graph
from .parts import (
    COLUMNS,
    PEOPLE,
    TOY,
    Setup,
    large_model,
    loaders,
    miniature,
    sample,
    six_nodes,
)

NOTES = Path(__file__).with_name("notes")
VIEW = {"ds": {"scale": 0.6, "offset": [60, 120]}}
FAST = Setup(files.FP8, files.TEXT_FP8, "Fast 4", lora=files.LORA)


class Template(NamedTuple):
    """A workflow with the 14B files: its subgraph, and the values of its pose node."""

    setup: Setup
    poses: Mapping[str, Any]


TEMPLATES = {
    "fast_4_steps": Template(FAST, {"size": "480p"}),
    "official_quality": Template(Setup(files.FP16, files.TEXT_FP16, "Official 40"), {}),
    "low_vram": Template(Setup(files.GGUF, files.TEXT_FP8, "Fast 4", lora=files.LORA, low_vram=True), {"size": "480p"}),
    "long_video_in_chunks": Template(FAST._replace(chunks=True), {"size": "480p", "max_frames": 0}),
    "several_people": Template(Setup(files.FP8, files.TEXT_FP8, "Official 40", PEOPLE), {"person": "all"}),
}


TOYS = {
    "quick_start": ({}, miniature),
    "long_video": ({"max_frames": 0}, partial(miniature, windows=True)),
}
OFFICIAL_FP8 = Setup(files.FP8, files.TEXT_FP8, "Official 40")
STAGES = {
    "check_the_dance": stages.check_the_dance,
    "dance_from_video": stages.dance_from_video,
    "ready_skeletons": stages.ready_skeletons,
    "keep_a_dance": stages.keep_a_dance,
    "own_pose_video": partial(stages.own_pose_video, setup=OFFICIAL_FP8._replace(pose_guidance=False)),
    "pose_editor": partial(stages.pose_editor, setup=OFFICIAL_FP8),
    "one_dance_many_photos": partial(stages.one_dance_many_photos, setup=FAST),
}


WIDE_NOTES = STAGES.keys() - {"dance_from_video"}


def artist_workflows(info: Mapping[str, dict], versions: Mapping[str, str]) -> dict[str, dict]:
    """Return the workflows by the names of their files."""
    made = {}
    for name, template in TEMPLATES.items():
        graph = Graph(info, versions, name)
        _note(graph, name)
        inside = large_model(graph, template.setup)
        six_nodes(graph, loaders(graph), template.poses, inside, 620)
        made[name] = graph.workflow(VIEW)
    for name, (poses, inside_of) in TOYS.items():
        graph = Graph(info, versions, name)
        _note(graph, name)
        six_nodes(graph, sample(graph), TOY | poses, inside_of(graph), 300)
        made[name] = graph.workflow(VIEW)
    for name, build in STAGES.items():
        graph = Graph(info, versions, name)
        _note(graph, name)
        groups = build(graph)
        made[name] = graph.workflow(VIEW, groups)
    return made


def blueprint(info: Mapping[str, dict], versions: Mapping[str, str]) -> dict:
    """Return the blueprint *SteadyDancer*: the subgraph of official_quality in a node of its own."""
    graph = Graph(info, versions, "blueprint")
    graph.enter(large_model(graph, TEMPLATES["official_quality"].setup), (0, 0), (400, 620), {})
    return graph.workflow({})


def _note(graph: Graph, name: str) -> None:
    text = (NOTES / f"{name}.md").read_text("utf-8")
    title = text.splitlines()[0].removeprefix("## ").partition(":")[0]
    graph.note(title, text, (COLUMNS[0], 30), (370 if name in WIDE_NOTES else 290, 900))
