"""The template Finish in a real ComfyUI, with a small network in the place of the interpolation model's file."""

import json
from pathlib import Path

import av
import pytest
import torch
from safetensors.torch import save_file

from steadydancer_pack.comfy_client.api_prompt import to_api_prompt
from steadydancer_pack.comfy_client.prompt_edit import set_inputs
from steadydancer_pack.media.video_writer import Settings, write_video
from steadydancer_pack.miniature import shipped
from steadydancer_pack.tests.prompts import VIDEO, file_of, run
from steadydancer_pack.tools.templates.names import FINISH

WORKFLOW = Path(__file__).resolve().parents[2] / "workflows" / f"{FINISH}.json"
FRAMES, FPS, NEW_FPS = 9, 16, 30
SOUND = {"waveform": torch.sin(torch.arange(48000) / 20).reshape(1, 1, -1), "sample_rate": 48000}


@pytest.fixture(scope="module")
def finished(server) -> str:
    """A finished video with sound among ComfyUI's inputs, and the stub among its models."""
    from comfy_extras.frame_interpolation_models.ifnet import IFNet

    folder = server.base / "models" / "frame_interpolation"
    folder.mkdir(exist_ok=True)
    zeros = {name: torch.zeros_like(tensor) for name, tensor in IFNet(channels=(4,) * 5).state_dict().items()}
    save_file(zeros, folder / "stub.safetensors")
    with av.open(str(shipped("steadydancer_sample_dance.mp4"))) as file:
        frames = [frame.to_ndarray(format="rgb24") for frame, _ in zip(file.decode(video=0), range(FRAMES))]  # noqa: B905
    images = torch.stack([torch.from_numpy(frame) for frame in frames]).float() / 255
    return write_video([server.base / "input" / "finished.mp4"], images, FPS, Settings(), SOUND).name


def test_it_makes_the_smoother_video_and_the_comparison_as_long_as_the_first_with_its_sound(server, finished):
    prompt = to_api_prompt(json.loads(WORKFLOW.read_text("utf-8")), server.client.object_info())
    by_kind = {}
    for key, node in prompt.items():
        by_kind.setdefault(node["class_type"], []).append(key)
    for key in by_kind["LoadVideo"]:
        set_inputs(prompt, key, file=finished)
    set_inputs(prompt, *by_kind["FrameInterpolationModelLoader"], model_name="stub.safetensors")
    assert "UpscaleModelLoader" not in by_kind  # bypassed
    _, outputs = run(server, prompt)
    widths = []
    for key in by_kind[VIDEO]:
        (entry,) = outputs[key]["images"]
        with av.open(file_of(server, entry)) as file:
            pictures, sound = file.streams.video[0], file.streams.audio[0]
            assert pictures.average_rate == NEW_FPS
            assert abs(pictures.frames / NEW_FPS - FRAMES / FPS) <= 0.5 / NEW_FPS
            assert abs(float(sound.duration * sound.time_base) - pictures.frames / NEW_FPS) <= 0.5 / NEW_FPS
            widths.append(pictures.width)
    assert sorted(widths) == [384, 3 * 384]
