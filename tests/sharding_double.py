"""What two processes hold of a network that they share out: run by torchrun on a SteadyDancer's file, prints JSON."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch.distributed import distributed_c10d

PACK = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PACK))
from comfy_client.in_process import use_comfyui, use_pack  # noqa: E402

use_pack()
use_comfyui()
from steadydancer_pack.training.flow import FlowMatching, Velocity  # noqa: E402
from steadydancer_pack.training.full import load_start, starting_network, teacher  # noqa: E402
from steadydancer_pack.training.latents import FEATURES  # noqa: E402
from steadydancer_pack.training.lora import Adapter  # noqa: E402
from steadydancer_pack.training.network import allow_gradients  # noqa: E402
from steadydancer_pack.training.optimizer_state import OptimizerState  # noqa: E402
from steadydancer_pack.training.processes import checkpoint_group, leave, processes  # noqa: E402
from steadydancer_pack.training.sharding import gather, shard_module  # noqa: E402
from steadydancer_pack.training.stages import STAGES  # noqa: E402
from steadydancer_pack.training.streaming import BlockStream  # noqa: E402
from steadydancer_pack.training.wan_file import WanFile, official  # noqa: E402


def main(path: Path) -> dict:
    processes(minutes=7)
    allow_gradients()
    groups = distributed_c10d._get_default_group(), checkpoint_group(3)
    timeouts = [group._get_backend(torch.device("cpu")).options._timeout.total_seconds() for group in groups]
    file = WanFile(path)
    return shared_out(file, WanFile(path.with_name("base.safetensors"))) | {
        "streamed": streamed(file),
        "timeouts": timeouts,
    }


def batch() -> dict:
    cells = {"clean": 16, "noise": 16, "image": 20, "pose": 16}
    tensors = {name: torch.ones(1, channels, 2, 4, 4) for name, channels in cells.items()}
    tensors |= {"ref_x": torch.ones(1, 36, 1, 4, 4), "ref_c": torch.ones(1, 16, 1, 4, 4), "text": torch.ones(1, 4, 16)}
    return {**tensors, "sigma": torch.tensor([0.5]), **dict.fromkeys(FEATURES, torch.ones(1, 257, 1280))}


def streamed(file) -> float:
    """Return the gradient's norm after one step of a LoRA beside streamed blocks."""
    column = replace(STAGES["stage3"].full, stream=True)
    network = starting_network(STAGES["stage3"], column, file)
    blocks = BlockStream(network, torch.device("cpu"))
    network.requires_grad_(False)
    module = FlowMatching(Velocity(network, True, True, torch.bfloat16, blocks), Adapter(network, 4, 4, 0))
    optimizer = OptimizerState(module, column.plan)
    with optimizer.precision():
        loss = optimizer.model(batch())["loss"]
    optimizer.backward(loss)
    return optimizer.step(0).item()


def shared_out(file, base) -> dict:
    """Return how much this process holds of stage 2's networks, and which weights are not the files'."""
    stage = STAGES["stage2"]
    network = starting_network(stage, stage.full, file)
    read_before = sum(not weight.is_meta for weight in network.parameters())
    shard_module(network, "cpu", bf16=True)
    load_start(network, file, 0)
    taught = teacher(stage.full.plan, base)
    weights = {official(name): weight for name, weight in network.named_parameters()}
    held = sum(weight.to_local().nbytes for weight in weights.values())
    blocks = dict(taught.blocks.named_parameters())
    others = [name for name, weight in weights.items() if not torch.equal(gather(weight), file.map(name).float())]
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        loss = FlowMatching(Velocity(network, True, True, torch.bfloat16))(batch())["loss"]
    loss.backward()
    return {
        "without gradient": [name for name, weight in weights.items() if weight.grad is None],
        "coarse": [name for name, weight in weights.items() if weight.grad.dtype != torch.float32],
        "read before": read_before,
        "held": held / sum(weight.numel() * 4 for weight in weights.values()),
        "taught": sum(b.to_local().nbytes for b in blocks.values()) / sum(b.numel() * 2 for b in blocks.values()),
        "other": others,
        "other blocks": [
            name
            for name, weight in blocks.items()
            if not torch.equal(gather(weight), base.map(f"blocks.{official(name)}"))
        ],
    }


if __name__ == "__main__":
    found = main(Path(sys.argv[1]))
    if processes().is_main_process:
        sys.stdout.write(f"FOUND {json.dumps(found)}\n")
    leave(0)
