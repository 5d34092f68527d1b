"""Prompts to a running ComfyUI: build them, run them, take a latent out of their middle."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from steadydancer_pack.comfy_client.api_prompt import to_api_prompt
from steadydancer_pack.comfy_client.process import ComfyProcess
from steadydancer_pack.comfy_client.prompt_edit import find, set_custom, set_inputs
from steadydancer_pack.comfy_client.prompt_run import RunReport
from steadydancer_pack.tools.templates.names import READY_SKELETONS

SKELETONS = Path(__file__).resolve().parents[1] / "workflows" / f"{READY_SKELETONS}.json"
RECONCILE, SAMPLER, VIDEO = "SteadyDancerReconcileConditions", "SteadyDancerSampler", "SteadyDancerVideoCombine"


def node(class_type: str, **inputs) -> dict:
    """Return one node of an API prompt."""
    return {"class_type": class_type, "inputs": inputs, "_meta": {"title": class_type}}


def small_prompt(object_info: dict) -> dict:
    """Return the workflow of ready skeletons as an API prompt: 5 frames of 48x48, 2 steps and text guidance."""
    prompt = to_api_prompt(json.loads(SKELETONS.read_text("utf-8")), object_info)
    set_inputs(prompt, find(prompt, RECONCILE), length=5, width=48, height=48)
    set_custom(prompt, find(prompt, SAMPLER), steps=2, text_guidance=5.0)
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


def file_of(server: ComfyProcess, entry: dict) -> Path:
    """Return where a file of a node's output lies."""
    return server.base / entry["type"] / entry["subfolder"] / entry["filename"]


def pictures(server: ComfyProcess, output: dict) -> np.ndarray:
    """Return the pictures of a node's output, uint8 [N, H, W, 3]."""
    return np.stack([np.asarray(Image.open(file_of(server, entry)).convert("RGB")) for entry in output["images"]])


def stock_ksampler(prompt: dict, model: list, steps: int, cfg: float) -> dict:
    """Return ComfyUI's KSampler on the conditions, the latent and the seed of the prompt's sampler."""
    inputs = prompt[find(prompt, SAMPLER)]["inputs"]
    same = {name: inputs[name] for name in ("positive", "negative", "seed")} | {"latent_image": inputs["latent"]}
    how = {"steps": steps, "cfg": cfg, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0}
    return node("KSampler", model=model, **same, **how)


def chunk_sampler(prompt: dict, **inputs) -> dict:
    """Return a chunk sampler, 3 chunks for 33 frames, in the place of the prompt's conditions, sampler and decoder."""
    reconcile, sampler = prompt[find(prompt, RECONCILE)]["inputs"], prompt[find(prompt, SAMPLER)]["inputs"]
    frames = ("positive", "negative", "vae", "photo", "pose_frames", "pose_negative_frames", "width", "height")
    same = {name: reconcile[name] for name in frames}
    same |= {name: value for name, value in sampler.items() if name == "model" or name.startswith("preset")}
    chunks = {"chunk_length": 17, "overlap": 5, "colour_match": 1.0, "tiled_vae": False}
    return node("SteadyDancerChunkSampler", **(same | chunks | {"keep_chunks": True, "chunks_gb": 1} | inputs))


def write_lora(server: ComfyProcess, name: str, layer: str, width: int, fill=torch.ones) -> str:
    """Write a LoRA of rank 4 for one layer of that width, and return the file's name."""
    shapes = {f"{layer}.lora_down.weight": (4, width), f"{layer}.lora_up.weight": (width, 4)}
    lora = {key: fill(shape) for key, shape in shapes.items()}
    save_file(lora, server.base / "models" / "loras" / f"{name}.safetensors")
    return f"{name}.safetensors"


def error(found: Tensor, want: Tensor) -> float:
    """Return the relative error in the 2-norm."""
    return ((found - want).norm() / want.norm()).item()
