"""The shipped workflows: those of six visible nodes as tables, the others as `stages` builds them."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from . import files, names, stages
from .graph import VIEW, Graph
from .parts import (
    COLUMNS,
    PEOPLE,
    TOY,
    Setup,
    image_to_video,
    large_model,
    loaders,
    miniature,
    sample,
    six_nodes,
)

NOTES = Path(__file__).with_name("notes")
FAST = Setup(files.FP8, files.TEXT_FP8, "Fast 4", lora=files.LORA)
OFFICIAL_FP8 = Setup(files.FP8, files.TEXT_FP8, "Official 40")


class Template(NamedTuple):
    """A workflow with the 14B files: its subgraph, and the values of its pose node."""

    setup: Setup
    poses: Mapping[str, Any]


TEMPLATES = {
    names.FAST_4_STEPS: Template(FAST, {"size": "480p"}),
    names.OFFICIAL_QUALITY: Template(Setup(files.FP16, files.TEXT_FP16, "Official 40"), {"mode": "official"}),
    names.LOW_VRAM: Template(FAST._replace(model=files.GGUF, low_vram=True), {"size": "480p"}),
    names.LONG_VIDEO: Template(FAST._replace(chunks=True), {"size": "480p", "max_frames": 0, "draw_frames": False}),
    names.SEVERAL_PEOPLE: Template(OFFICIAL_FP8._replace(prompt=PEOPLE), {"person": "all"}),
}
STAGES = {
    names.CHECK_THE_DANCE: stages.check_the_dance,
    names.FIX_BY_HAND: stages.fix_by_hand,
    names.STAGE_BY_STAGE: stages.stage_by_stage,
    names.READY_SKELETONS: stages.ready_skeletons,
    names.OWN_POSE_VIDEO: partial(stages.own_pose_video, setup=OFFICIAL_FP8._replace(pose_guidance=False)),
    names.MANY_PHOTOS: partial(stages.many_photos, setup=FAST),
}
WIDE_NOTES = STAGES.keys() - {names.STAGE_BY_STAGE}


def artist_workflows(info: Mapping[str, dict], versions: Mapping[str, str]) -> dict[str, dict]:
    """Return the workflows by the names of their files."""
    made = {}
    for name, template in TEMPLATES.items():
        graph = Graph(info, versions, name)
        _note(graph, name)
        inside = large_model(graph, template.setup)
        six_nodes(graph, loaders(graph), template.poses, inside, 620, on_disk=template.setup.chunks)
        made[name] = graph.workflow(VIEW)
    graph = Graph(info, versions, names.QUICK_START)
    _note(graph, names.QUICK_START)
    six_nodes(graph, sample(graph), TOY, miniature(graph), 300)
    made[names.QUICK_START] = graph.workflow(VIEW)
    for name, build in STAGES.items():
        graph = Graph(info, versions, name)
        _note(graph, name)
        groups = build(graph)
        made[name] = graph.workflow(VIEW, groups)
    return made


def blueprint(info: Mapping[str, dict], versions: Mapping[str, str]) -> dict:
    """Return the blueprint *SteadyDancer*: the subgraph of *4 Official quality* in a node of its own."""
    graph = Graph(info, versions, "blueprint")
    graph.enter(large_model(graph, TEMPLATES[names.OFFICIAL_QUALITY].setup), (0, 0), (400, 620), {})
    return graph.workflow({})


def image_to_video_blueprint(info: Mapping[str, dict], versions: Mapping[str, str]) -> dict:
    """Return the blueprint *Image to Video (SteadyDancer)*: poses and model in one node."""
    graph = Graph(info, versions, "image to video blueprint")
    inside = image_to_video(graph, TEMPLATES[names.OFFICIAL_QUALITY].setup)
    graph.enter(inside, (0, 0), (400, 700), {})
    return graph.workflow({})


def _note(graph: Graph, name: str) -> None:
    text = (NOTES / f"{name}.md").read_text("utf-8")
    title = text.splitlines()[0].removeprefix("## ").partition(":")[0]
    graph.note(title, text, (COLUMNS[0], 30), (370 if name in WIDE_NOTES else 290, 900))
