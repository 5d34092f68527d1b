"""The stages on a whole Wan 2.1 I2V and a store of real clips: the same tasks and the same loop with the 14B column.

    python -m training stage1 WORK --full --base wan2.1_i2v_720p_14B_bf16.safetensors

Stage 1 starts from the base file, each other from the weights.safetensors of the stage before. Our choices: frozen
weights and the tokens between the blocks are bf16, what is trained is float32; activations are computed again in the
backward pass; CLIP vision's layers are frozen in stages 1 and 3 and trained with all others in stage 2.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from .batches import Batches, BucketBatches
from .buckets import open_stores
from .encoders import load_decoder
from .full_result import write_result
from .latents import TEXT, Store
from .loop import train
from .memory_plan import cell_tokens, report_needs
from .network import POSE_PARTS, allow_gradients, build
from .pipeline import BEFORE, Work, is_done, preview_batch
from .plan import Plan
from .processes import own_device, processes
from .real_clips import BLANK_FEATURES, BLANK_POSE, NEGATIVE_TEXT, SHARED
from .run_options import AS_PLANNED, RunOptions
from .sharding import shard_blocks
from .stages import STAGES, Column, Cuts, Stage
from .start import start_of
from .streaming import BlockStream
from .tasks import StageTask
from .wan_file import WanFile, fill, start_pose


class FullFiles(NamedTuple):
    """base: Wan 2.1 I2V; store: the folder of clips; vae: for pictures on the way, or None; held: a folder of clips
    that are never trained on, for the validation loss and pictures, or None."""

    base: Path
    store: Path
    vae: Path | None = None
    held: Path | None = None


def run_full(
    work: Work,
    name: str,
    files: FullFiles,
    steps: int = 0,
    before: str = "",
    output: str = "",
    options: RunOptions = AS_PLANNED,
) -> Path:
    """Train a stage of a whole model, or go on with it, and return its weights' file.

    The other arguments are those of pipeline.run_stage. ValueError: a file is not what it should be, or not there.
    """
    stage, path = STAGES[name], work.weights(output or name)
    if stage.full is None:
        raise ValueError(f"There is no {name} to train in a whole model: it is the file of --base. Begin at stage1.")
    if is_done(path):
        return path
    column = options.column(stage.full)
    processes(options.timeout)
    if steps:
        column = replace(column, plan=replace(column.plan, steps=steps))
    before = before or BEFORE[name]
    origin = files.base if before == "base" else work.weights(before)
    if not origin.exists():
        raise ValueError(f"There is no {origin}. Train '{before}' first, or name another stage with --before.")
    start, teacher = WanFile(origin), None if stage.loss == "flow" else files.base
    report_run(stage, column, start, files)
    task = prepare_full(stage, column, start, files)
    trained = train(task, column.plan, path.parent, start_of(origin, open_stores(files.store), teacher))
    if processes().is_main_process:
        write_result(path, start, trained, column.rank, f"SteadyDancer {name}")
    processes().wait_for_everyone()
    return path


def report_run(stage: Stage, column: Column, start: WanFile, files: FullFiles) -> None:
    """Log what a stage of a whole model takes of the memory of this machine, once."""
    state = processes()
    if state.is_main_process:
        clip = max(cell_tokens(*store.shape[1:]) for store in open_stores(files.store))
        report_needs(start.size, stage, column, clip, state.num_processes, own_device())


def prepare_full(stage: Stage, column: Column, start: WanFile, files: FullFiles) -> StageTask:
    """Return the task of a stage of a whole model; its networks are on this process's device."""
    allow_gradients()
    stores = open_stores(files.store)
    width = stores[0].arrays[TEXT].shape[-1]
    if width != start.size.text_dim:
        raise ValueError(
            f"The prompts in {files.store} are {width} wide, {start.title} reads {start.size.text_dim}. Prepare the "
            "clips with the text encoder of this model (umt5-xxl for Wan 2.1)."
        )
    if not stores[0].features:
        raise ValueError(f"The clips in {files.store} have no CLIP vision features. Make them with `prepare`.")
    held = held_out(files.held, stores) if files.held else []
    shared = {store.shape: load_file(store.folder / SHARED) for store in stores}
    plan, network = column.plan, starting_network(stage, column, start)
    blocks = BlockStream(network, own_device()) if column.stream else None
    taught = None if stage.loss == "flow" else teacher(plan, WanFile(files.base))
    preview = (preview_batch((held or stores)[0], 1, slice(None)), load_decoder(files.vae)) if files.vae else None
    return StageTask(
        stage,
        column,
        network,
        drawn(stores, shared, column.cuts),
        taught,
        preview,
        recompute=True,
        seed=plan.seed,
        stream=plan.dtype,
        sees=True,
        held=drawn(held, shared, column.cuts) if held else None,
        fill=partial(load_start, network, start, plan.seed) if _shards(plan) else None,
        blocks=blocks,
    )


def drawn(stores: Sequence[Store], shared: Mapping[tuple, Mapping[str, Tensor]], cuts: Cuts) -> BucketBatches:
    """Return batches of these stores; shared: what all clips of a shape share."""
    names = (NEGATIVE_TEXT, BLANK_POSE, BLANK_FEATURES)
    return BucketBatches(
        [Batches(each, cuts, *(shared[each.shape][name].float() for name in names)) for each in stores]
    )


def held_out(folder: Path, stores: Sequence[Store]) -> list[Store]:
    """Return stores of clips that are never trained on. ValueError: clips of them are shaped as none of `stores`."""
    held, wanted = open_stores(folder), [store.shape for store in stores]
    for each in held:
        if each.shape not in wanted or each.features != stores[0].features:
            raise ValueError(
                f"The held-out clips in {folder} are {list(each.shape)}, those to train on "
                f"{' or '.join(str(list(shape)) for shape in wanted)}. Prepare both with the same --frames and --size."
            )
    return held


def starting_network(stage: Stage, column: Column, start: WanFile) -> nn.Module:
    """Return the stage's network: frozen weights in the plan's precision, those that are trained in float32.

    Where the plan shards it lies on the meta device, for load_start; blocks for a BlockStream lie on the CPU.
    """
    plan, device = column.plan, own_device()
    dtype = plan.dtype if column.rank else torch.float32
    place = "meta" if _shards(plan) else "cpu" if column.stream else str(device)
    network = build(start.size, stage.pose, dtype, place)
    if column.stream:
        for part in (part for name, part in network.named_children() if name != "blocks"):
            part.to(device)
    if not _shards(plan):
        load_start(network, start, plan.seed)
    return network


def load_start(network: nn.Module, start: WanFile, seed: int) -> None:
    """Give the network, or the part of it that this process holds, the values that the stage starts from."""
    if any(weight.is_meta for weight in network.parameters()):
        network.to_empty(device=own_device())
    if start.pose:
        fill(network, start)
    else:
        fill(network, start, POSE_PARTS)
        start_pose(network, start, seed)


def teacher(plan: Plan, base: WanFile) -> nn.Module:
    """Return the frozen base model, its blocks sharded among the processes where the plan shards."""
    device = own_device()
    network: Any = build(base.size, False, plan.dtype, "meta" if _shards(plan) else str(device))
    network.requires_grad_(False)
    if _shards(plan):
        shard_blocks(network.blocks, device.type)
        network.to_empty(device=device)
    fill(network, base)
    return network


def _shards(plan: Plan) -> bool:
    return plan.shard and processes().num_processes > 1
