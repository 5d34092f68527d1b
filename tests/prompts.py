"""Prompts to a running ComfyUI: build them, run them, take a latent out of their middle."""

import json
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from steadydancer_pack.comfy_client.api_prompt import to_api_prompt
from steadydancer_pack.comfy_client.process import ComfyProcess
from steadydancer_pack.comfy_client.prompt_edit import find, set_inputs
from steadydancer_pack.comfy_client.prompt_run import RunReport

SKELETONS = Path(__file__).resolve().parents[1] / "workflows" / "ready_skeletons.json"
RECONCILE, SAMPLER, VIDEO = "SteadyDancerReconcileConditions", "SteadyDancerSampler", "SteadyDancerVideoCombine"


def node(class_type: str, **inputs) -> dict:
    """Return one node of an API prompt."""
    return {"class_type": class_type, "inputs": inputs, "_meta": {"title": class_type}}


def small_prompt(object_info: dict) -> dict:
    """Return the workflow of ready skeletons as an API prompt: 5 frames of 48x48, 2 steps and text guidance."""
    prompt = to_api_prompt(json.loads(SKELETONS.read_text("utf-8")), object_info)
    set_inputs(prompt, find(prompt, RECONCILE), length=5, width=48, height=48)
    set_inputs(prompt, find(prompt, SAMPLER), steps=2, text_guidance=5.0)
    return prompt


def run(server: ComfyProcess, prompt: dict) -> tuple[RunReport, dict]:
    """Run a prompt to its end; return the report and the outputs of its nodes."""
    prompt_id = server.client.queue(prompt)
    return server.client.wait(prompt_id), server.client.history(prompt_id)["outputs"]


def latent_from(server: ComfyProcess, prompt: dict, source: str) -> Tensor:
    """Run the part of the prompt that ends at node `source` and return its latent."""
    save = node("SaveLatent", samples=[source, 0], filename_prefix="latents/test")
    nodes = {key: value for key, value in prompt.items() if value["class_type"] != VIDEO}
    _, outputs = run(server, nodes | {"save": save})
    (entry,) = outputs["save"]["latents"]
    return load_file(server.base / "output" / entry["subfolder"] / entry["filename"])["latent_tensor"]


def error(found: Tensor, want: Tensor) -> float:
    """Return the relative error in the 2-norm."""
    return ((found - want).norm() / want.norm()).item()
