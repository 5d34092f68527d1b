"""Frozen blocks in main memory: the same gradients, with one block's copies at a time."""

import weakref
from dataclasses import replace

import comfy.model_management
import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from steadydancer_pack.training import streaming
from steadydancer_pack.training.flow import FlowMatching, Velocity
from steadydancer_pack.training.latents import FEATURES
from steadydancer_pack.training.lora import Adapter
from steadydancer_pack.training.network import POSE_PARTS, Size, build, initialize
from steadydancer_pack.training.run_options import RunOptions
from steadydancer_pack.training.stages import STAGES
from steadydancer_pack.training.streaming import BlockStream

TINY, LAYERS, ROWS, SHAPE = Size(128, 64, 3, 16), 3, 4, (1, 16, 3, 4, 4)


@pytest.fixture(autouse=True)
def gradients(monkeypatch):
    monkeypatch.setattr(comfy.model_management, "in_training", True)


def batch():
    """Return one random batch of a model with CLIP vision."""
    generator = torch.Generator().manual_seed(3)
    shapes = {"clean": SHAPE, "noise": SHAPE, "pose": SHAPE, "image": (1, 20, 3, 4, 4), "ref_x": (1, 36, 1, 4, 4)}
    shapes |= {"ref_c": (1, 16, 1, 4, 4), "text": (1, ROWS, 16), **dict.fromkeys(FEATURES, (1, 257, 1280))}
    drawn = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return {**drawn, "sigma": torch.tensor([0.7])}


def trained(stream):
    """Return the loss and the gradients of LoRA layers and pose tensors, in the precision of a whole model."""
    network = build(TINY, True)
    initialize(network, 0)
    torch.nn.init.normal_(network.head.head.weight, std=0.1, generator=torch.Generator().manual_seed(1))
    for name, weight in network.named_parameters():
        weight.requires_grad_(name.startswith(POSE_PARTS))
        weight.data = weight.data if "embedding" in name else weight.data.bfloat16()
    blocks = BlockStream(network, torch.device("cpu")) if stream else None
    adapter = Adapter(network, 4, 4, 0)
    for layer in adapter.paths.values():
        torch.nn.init.normal_(layer.up, std=0.1, generator=torch.Generator().manual_seed(2))
    module = FlowMatching(Velocity(network, True, True, torch.bfloat16, blocks), adapter)
    with torch.autocast("cpu", torch.bfloat16):
        loss = module(batch())["loss"]
    loss.backward()
    return network, loss, {name: p.grad for name, p in module.named_parameters() if p.requires_grad}


def test_the_gradients_are_those_of_a_network_that_lies_on_the_device(monkeypatch):
    alive, most, waiting = weakref.WeakSet(), [], []

    def counted(call, copies, args, run=streaming.functional_call):
        alive.update(copies.values())
        most.append(len(alive) / len(copies))
        return run(call, copies, args)

    def to_main_memory():
        return saved_tensors_hooks(lambda tensor: waiting.append(tensor.shape[-1]) or tensor, lambda tensor: tensor)

    monkeypatch.setattr(streaming, "functional_call", counted)
    monkeypatch.setattr(streaming, "save_on_cpu", to_main_memory)
    _, wanted_loss, wanted = trained(False)
    assert most == []
    network, loss, found = trained(True)
    assert loss.item() == wanted_loss.item() and list(found) == list(wanted)
    assert max((found[name] - wanted[name]).abs().max().item() for name in wanted) == 0.0
    assert all(gradient.any() for name, gradient in found.items() if name.startswith("adapter"))
    assert most == [1.0] * 2 * LAYERS and not alive  # a forward pass, and again for the backward pass
    assert waiting == [0, TINY.dim] * LAYERS  # of each block its tokens, beside checkpoint's own empty tensor
    assert {weight.numel() for weight in network.blocks.parameters()} == {0}


def test_only_frozen_blocks_are_streamed_and_only_sharded_ones_collected_in_bfloat16():
    two, three = STAGES["stage2"].full, STAGES["stage3"].full
    with pytest.raises(ValueError, match="--stream is for frozen blocks"):
        RunOptions(stream=True).column(two)
    with pytest.raises(ValueError, match="--bf16-shards is for stage 2"):
        RunOptions(bf16_shards=True).column(three)
    assert RunOptions().column(two) == two and RunOptions(stream=True).column(three) == replace(three, stream=True)
