"""What the tests in ComfyUI share: the golden model, loaded by ComfyUI's own loader, and the nodes' schemas."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from steadydancer_pack.tests.comfyui import use_comfyui

use_comfyui()

import comfy.model_management
import comfy.sd
import folder_paths
import torch
from safetensors.torch import load_file

from steadydancer_pack.benchmarks.golden_model import (
    GoldenInputs,
    forget_dead_models,
    load_golden_model,
    make_conditions,
)
from steadydancer_pack.dwpose.packages import pip_advice
from steadydancer_pack.miniature import weights
from steadydancer_pack.steadydancer_core.weights import detection
from steadydancer_pack.tests.pack_nodes import pack_nodes

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


@pytest.fixture
def inference() -> Iterator[None]:
    """As ComfyUI runs its nodes."""
    with torch.inference_mode():
        yield


class QuickInputs(GoldenInputs):
    """The golden inputs with few tokens of CLIP and text, which take most of the time of a pass."""

    clip_tokens, text_tokens = 8, 16


@pytest.fixture(autouse=True)
def forgotten_models():
    """Leave no dead model of one test to the next."""
    yield
    forget_dead_models()


@pytest.fixture
def golden():
    """Return a function from a golden file's name to its tensors."""
    return lambda name: load_file(GOLDEN / f"{name}.safetensors")


@pytest.fixture
def inputs(request):
    """The golden inputs where a test compares with a golden file, else the quick ones."""
    return GoldenInputs() if "golden" in request.fixturenames else QuickInputs()


@pytest.fixture(scope="session")
def golden_patcher():
    """The golden model in float32 as ComfyUI's MODEL. Clone it before patching."""
    return load_golden_model()


@pytest.fixture(scope="session")
def golden_patcher_bfloat16():
    return load_golden_model(torch.bfloat16)


@pytest.fixture(scope="session")
def golden_patcher_float16():
    return load_golden_model(torch.float16)


@pytest.fixture(scope="module")
def model():
    """SteadyDancer of the miniature's size with made-up weights in half precision, as ComfyUI loads it."""
    detection.register()
    return comfy.sd.load_diffusion_model_state_dict(weights.steadydancer_state_dict(torch.float16))


@pytest.fixture
def quick_model(golden_patcher, monkeypatch):
    """The golden model with a network that is quick to compute and answers to prompt, pose and skipped blocks."""

    def forward(x, timestep, context, clip_fea, time_dim_concat, transformer_options, **kwargs):
        pose = kwargs["pose_latents"] * (1 + context.mean(dim=(1, 2)).view(-1, 1, 1, 1, 1) * 100)
        skipped = len(transformer_options.get("patches_replace", {}))
        return torch.tanh(x[:, :16] + pose) + 0.1 * skipped * pose

    monkeypatch.setattr(golden_patcher.model.diffusion_model, "_forward", forward)
    return golden_patcher


class Absent:
    """An importer that finds no package of this name."""

    def __init__(self, package):
        self.package = package

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == self.package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.fixture
def forget(monkeypatch):
    """Return a function that makes a package one that is not installed."""

    def forget(package):
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setattr(sys, "meta_path", [Absent(package), *sys.meta_path])
        monkeypatch.setattr(pip_advice, "distributions", lambda _: [])

    return forget


@pytest.fixture
def models_folder(tmp_path, monkeypatch):
    """The only folder of diffusion models."""
    _paths, suffixes = folder_paths.folder_names_and_paths["diffusion_models"]
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "diffusion_models", ([str(tmp_path)], suffixes))
    return tmp_path


@pytest.fixture
def make_conds(golden_patcher):
    """Return a function from inputs to positive, negative and pose-negative."""
    return lambda inputs: make_conditions(golden_patcher, inputs)


@pytest.fixture
def conds(make_conds, inputs):
    return make_conds(inputs)


@pytest.fixture(scope="session")
def dancer():
    """A real person, uint8 [H, W, 3], from a picture that comes with ComfyUI."""
    root = Path(importlib.util.find_spec("comfyui_workflow_templates_media_assets_01").origin).parent
    image = Image.open(root / "templates" / "video_wan_dancer-1.webp")
    image.seek(18)
    return np.asarray(image.convert("RGB"))


class CancellingBar:
    """A progress bar that stands for the user who presses Cancel during the second frame. seen: the frames done."""

    def __init__(self):
        self.seen = []

    def __call__(self, total):
        return self

    def update_absolute(self, value, total):
        self.seen.append(value)
        comfy.model_management.interrupt_current_processing(value == 2)


@pytest.fixture
def cancelling_bar():
    return CancellingBar()


@pytest.fixture(scope="session")
def schemas():
    """Every node's schema by its id."""
    return {schema.node_id: schema for schema in (node.GET_SCHEMA() for node in pack_nodes())}
