"""Photos, dances and a workflow for the farm's tests, to be run at FakeComfyUI servers."""

import json
from pathlib import Path

from PIL import Image

from steadydancer_pack.evaluation.farm.cell import Cell
from steadydancer_pack.evaluation.farm.cell_prompt import PromptTemplate, read_template
from steadydancer_pack.evaluation.farm.cell_sets import find_pairs
from steadydancer_pack.evaluation.farm.result_store import make_cells
from steadydancer_pack.media.clips import pack_video
from steadydancer_pack.tests.fake_comfyui import WORKFLOW

SIZE = 32, 48


def write_material(folder: Path, photos: str, videos: str) -> tuple[Path, Path, Path]:
    """Write photos and videos of 5 frames, each of its own color, and a workflow; return their places.

    photos, videos: names without endings. A name with one of the words of `fake_comfyui.ENDS` makes its cells end so.
    """
    for kind in ("photos", "videos", "frames"):
        (folder / kind).mkdir()
    for number, name in enumerate(photos.split()):
        Image.new("RGB", SIZE, (0, 20 * number, 0)).save(folder / "photos" / f"{name}.png")
    for number, name in enumerate(videos.split()):
        for index in range(5):
            Image.new("RGB", SIZE, (40 * number, 0, 20 * index)).save(folder / "frames" / f"{index}.png")
        pack_video(folder / "frames", folder / "videos" / f"{name}.mp4", 5)
    (folder / "workflow.json").write_text(json.dumps(WORKFLOW))
    return folder / "photos", folder / "videos", folder / "workflow.json"


def read_cells(folder: Path, seed: int | None = None) -> tuple[PromptTemplate, list[Cell]]:
    """Return what `write_material` wrote into `folder` as the farm reads it."""
    template = read_template(folder / "workflow.json", seed=seed)
    pairs = find_pairs(folder / "photos", folder / "videos")
    return template, make_cells(pairs, template.sha256, seed)
