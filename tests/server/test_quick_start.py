"""The quick start in a ComfyUI that has no model and no picture: it needs nothing, and leaves its video alone."""

import json
import os
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from steadydancer_pack.comfy_client.api_prompt import to_api_prompt
from steadydancer_pack.comfy_client.process import ComfyProcess
from steadydancer_pack.comfy_client.prompt_edit import find
from steadydancer_pack.miniature import shipped
from steadydancer_pack.tests.prompts import VIDEO, run
from steadydancer_pack.tools.templates.names import QUICK_START

PACK = Path(__file__).resolve().parents[2]
SAMPLE = "SteadyDancerMiniatureSample"


def files_in(base: Path) -> list[str]:
    """Return what lies in the folders of models, pictures and videos, less ComfyUI's own placeholders."""
    found = (file for folder in ("models", "input", "output") for file in (base / folder).rglob("*") if file.is_file())
    return sorted(file.relative_to(base).as_posix() for file in found if not file.name.startswith("put_"))


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """(What lay there before and after, API prompt, outputs, the server's folder) of the quick start, run once."""
    workflow = json.loads((PACK / "workflows" / f"{QUICK_START}.json").read_text("utf-8"))
    comfyui, base = Path(os.environ["COMFYUI_PATH"]), tmp_path_factory.mktemp("fresh")
    with ComfyProcess(comfyui, PACK, base, ends_with_parent=True) as server:
        before = files_in(server.base)
        prompt = to_api_prompt(workflow, server.client.object_info())
        _, outputs = run(server, prompt)
        yield before, files_in(server.base), prompt, outputs, server.base


def test_nothing_is_needed_and_nothing_left_but_the_video_which_begins_with_the_sample_and_dances(fresh):
    before, after, prompt, outputs, base = fresh
    (entry,) = outputs[find(prompt, VIDEO)]["images"]
    assert before == [] and after == [f"output/{entry['subfolder']}/{entry['filename']}"]
    with av.open(base / "output" / entry["subfolder"] / entry["filename"]) as file:
        frames = [frame.to_ndarray(format="rgb24").astype(float) for frame in file.decode(video=0)]
    photo = np.asarray(Image.open(shipped("steadydancer_sample.png")).convert("RGB"), dtype=float)
    assert len(frames) == 33 and np.abs(frames[0] - photo).mean() < 8
    assert np.abs(frames[16] - frames[0]).mean() > 6
    (entry,) = outputs[find(prompt, SAMPLE)]["images"]
    shown = Image.open(base / entry["type"] / entry["subfolder"] / entry["filename"]).convert("RGB")
    assert np.array_equal(np.asarray(shown), photo)
