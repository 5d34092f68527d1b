"""What unit tests share: the golden model, loaded by ComfyUI's own loader, and the nodes' schemas and texts."""

import ast
import importlib.util
import random
from pathlib import Path

import comfy.clip_vision
import comfy.model_management
import comfy.sd
import folder_paths
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from steadydancer_pack.miniature.weights import made_up_input, steadydancer_state_dict
from steadydancer_pack.steadydancer_core.weights import detection
from steadydancer_pack.tests.pack_nodes import pack_nodes

PACK = Path(__file__).resolve().parents[2]
GOLDEN = PACK / "tests" / "golden"
ROOMS = ("nodes", "steadydancer_core", "dwpose", "media", "evaluation", "doctor", "comfy_client", "miniature")
GOLDEN_CONFIG = {"dim": 256, "ffn_dim": 512, "layers": 2, "text_dim": 64}
FRAMES, HEIGHT, WIDTH = 3, 8, 6


def forget_dead_models():
    """Drop models whose last patcher is gone: ComfyUI stumbles over them when it looks through its loaded models."""
    loaded = comfy.model_management.current_loaded_models
    loaded[:] = [entry for entry in loaded if entry.model is not None]


@pytest.fixture(autouse=True)
def forgotten_models():
    """Leave no dead model of one test to the next."""
    yield
    forget_dead_models()


@pytest.fixture(autouse=True)
def same_random_numbers():
    """Give a test the same random numbers in every run, so that none fails by chance."""
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)


class GoldenInputs:
    """Inputs of the golden cases by name, shaped for a batch of one."""

    def __init__(self, frames=FRAMES, height=HEIGHT, width=WIDTH):
        self.size = frames, height, width

    def latent(self, name, frames=None, scale=1.0):
        shape = (16, frames or self.size[0], *self.size[1:])
        return torch.from_numpy(made_up_input(name, shape, scale))[None]

    def clip(self, name):
        return torch.from_numpy(made_up_input(name, (1, 257, 1280)))

    def text(self, name):
        rows = torch.from_numpy(made_up_input(name, (7, 64)))
        return torch.nn.functional.pad(rows, (0, 0, 0, 512 - 7))[None]


@pytest.fixture
def golden():
    """Return a function from a golden file's name to its tensors."""
    return lambda name: load_file(GOLDEN / f"{name}.safetensors")


@pytest.fixture
def inputs():
    return GoldenInputs()


def load_golden_model(dtype=torch.float32):
    detection.register()
    return comfy.sd.load_diffusion_model_state_dict(
        steadydancer_state_dict(**GOLDEN_CONFIG), model_options={"dtype": dtype}
    )


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


@pytest.fixture
def quick_model(golden_patcher, monkeypatch):
    """The golden model with a network that is quick to compute and answers to prompt, pose and skipped blocks."""

    def forward(x, timestep, context, clip_fea, time_dim_concat, transformer_options, **kwargs):
        pose = kwargs["pose_latents"] * (1 + context.mean(dim=(1, 2)).view(-1, 1, 1, 1, 1) * 100)
        skipped = len(transformer_options.get("patches_replace", {}))
        return torch.tanh(x[:, :16] + pose) + 0.1 * skipped * pose

    monkeypatch.setattr(golden_patcher.model.diffusion_model, "_forward", forward)
    return golden_patcher


def clip_output(features):
    output = comfy.clip_vision.Output()
    output.penultimate_hidden_states = features
    return output


def make_conditions(patcher, inputs):
    """Return positive, negative and pose-negative of `inputs`, as Reconcile Conditions makes them."""
    raw = patcher.model.process_latent_out
    mask = torch.ones(1, 1, *inputs.size)
    mask[:, :, 0] = 0
    shared = {
        "concat_latent_image": raw(inputs.latent("image_latent")),
        "concat_mask": mask,
        "reference_pose_latent": raw(inputs.latent("ref_pose_latent", 1)),
        "clip_vision_output": clip_output(inputs.clip("clip_image")),
        "pose_clip_vision_output": clip_output(inputs.clip("clip_pose")),
    }
    prompts = (("text", "pose_latent"), ("text_negative", "pose_latent"), ("text", "pose_latent_negative"))
    return tuple(
        [[inputs.text(text), {**shared, "pose_video_latent": raw(inputs.latent(pose))}]] for text, pose in prompts
    )


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
def doubles(tmp_path_factory):
    """Paths of a YOLOX and a DW-Pose with the published inputs and outputs."""
    from steadydancer_pack.tests.doubles import write_dwpose_double, write_yolox_double

    folder = tmp_path_factory.mktemp("doubles")
    files = folder / "yolox_l.onnx", folder / "dw-ll_ucoco_384.onnx"
    write_yolox_double(files[0])
    write_dwpose_double(files[1])
    return files


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


@pytest.fixture(scope="session")
def texts():
    """Every string in the pack's code; of an f-string, the pieces between its values."""
    files = [file for room in ROOMS for file in sorted((PACK / room).rglob("*.py"))]
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text("utf-8")))]
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
