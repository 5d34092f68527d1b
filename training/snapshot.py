"""The newest weights of a work folder in one small file, and a work folder made anew from it.

The file holds the network of the furthest stage, in float16 and without what serves CLIP vision, and the VAE as it is.
Of a stage or a VAE that is not finished these are the moving averages, and the run goes on from them at its step, with
fresh moments of the optimizer. A LoRA stage counts once it is finished. Clips and stores follow from their seeds; the
base, which stage 2 compares with, has to be trained again where a later stage is in the file.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..media.atomic_write import atomic_write
from ..media.byte_size import size_text
from ..steadydancer_core.weights.clip_vision import with_clip_vision
from . import checkpoints
from .checkpoints import Checkpoint
from .container import safetensors_bytes
from .export import trained_part
from .pipeline import Work
from .stages import STAGES
from .vae import METRICS

LARGEST = 16_000_000  # bytes: it is kept in the repository
NEWEST_FIRST = ("stage3", "stage2", "stage1", "base")
NETWORK, VAE, MODULE = "network.", "vae.", "velocity.network."  # MODULE: of a checkpoint's names
FACTS = "steadydancer_training"


class Newest(NamedTuple):
    """What the furthest stage has. step, plan: of a stage that is not finished, else None."""

    stage: str
    state: dict[str, Tensor]
    step: int | None = None
    plan: dict[str, Any] | None = None


def newest(work: Work) -> Newest | None:
    """Return the weights of the furthest stage, None where no stage has begun."""
    for name in NEWEST_FIRST:
        if work.weights(name).exists():
            return Newest(name, load_file(work.weights(name)))
        checkpoint = None if STAGES[name].miniature.rank else checkpoints.load(work.folder / name)
        if checkpoint:
            tensors = checkpoint.ema or checkpoint.trained
            state = {key.removeprefix(MODULE): tensor for key, tensor in tensors.items()}
            return Newest(name, state, checkpoint.step, checkpoint.facts["plan"])
    return None


def write_snapshot(work: Work, path: Path, with_vae: bool = True) -> str:
    """Write the snapshot of a work folder and return in words what is in it.

    ValueError: there is nothing to keep, or it takes more than LARGEST.
    """
    found, facts, tensors, words = newest(work), {}, {}, []
    if found:
        facts |= {"stage": found.stage, "step": found.step, "plan": found.plan}
        tensors |= {f"{NETWORK}{name}": tensor.half() for name, tensor in trained_part(found.state).items()}
        words.append(found.stage if found.step is None else f"{found.stage} after {found.step} steps")
    if with_vae and work.vae_file.exists():
        with safe_open(work.vae_file, "pt") as file:
            facts["vae"] = file.metadata()
        facts["metrics"] = json.loads(_beside(work.vae_file).read_text("utf-8"))
        tensors |= {f"{VAE}{name}": tensor for name, tensor in load_file(work.vae_file).items()}
        words.append("the VAE")
    elif with_vae and not found and (checkpoint := checkpoints.load(work.vae_file.parent)):
        facts |= {"vae_step": checkpoint.step, "vae_plan": checkpoint.facts["plan"]}
        tensors |= {name: tensor.half() for name, tensor in (checkpoint.ema or checkpoint.trained).items()}
        words.append(f"the VAE after {checkpoint.step} steps")
    if not tensors:
        raise ValueError(f"There is nothing to keep in {work.folder}: neither a VAE nor a stage. Train one first.")
    broken = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if broken:
        raise ValueError(f"{broken[0]} does not fit float16: the training diverged. Use a lower learning rate.")
    content = safetensors_bytes({name: t.contiguous() for name, t in tensors.items()}, {FACTS: json.dumps(facts)})
    if len(content) > LARGEST:
        raise ValueError(
            f"{' and '.join(words)} take {size_text(len(content))}, and a snapshot {size_text(LARGEST)} at most. Leave "
            "the VAE out with --without-vae, and keep its file beside the snapshot."
        )
    with atomic_write(path) as part:
        part.write_bytes(content)
    return f"{path}: {' and '.join(words)}, {size_text(len(content))}"


def restore(work: Work, path: Path, vae: Path | None = None) -> str:
    """Make the VAE and the furthest stage of an empty work folder from a snapshot; return in words what is there now.

    vae: the VAE's file, with METRICS beside it, where the snapshot has none. ValueError: the file is no snapshot, it
    has no VAE and none is named, or the folder holds a training already.
    """
    facts, tensors = _read(path)
    places = [work.folder / name for name in (*STAGES, work.vae_file.parent.name)]
    taken = [place.name for place in places if place.exists()]
    if taken:
        raise ValueError(f"{work.folder} holds {', '.join(taken)} already. Restore into an empty folder.")
    parts = {name.removeprefix(VAE): tensor for name, tensor in tensors.items() if name.startswith(VAE)}
    if "vae_plan" in facts:
        _save_unfinished(work.vae_file.parent, facts["vae_step"], facts["vae_plan"], VAE, parts)
        return f"{facts['vae_step']} steps of the VAE are there. Go on with `world` and `vae`."
    if parts:
        content, metrics = safetensors_bytes(parts, facts["vae"]), json.dumps(facts["metrics"], indent=2)
    elif vae:
        metrics = _beside(vae).read_text("utf-8")
        content = vae.read_bytes()
    else:
        raise ValueError(f"{path} has no VAE. Name the file that was kept beside it with --vae.")
    work.vae_file.parent.mkdir(parents=True)
    work.vae_file.write_bytes(content)
    work.vae_file.with_name(METRICS).write_text(metrics, "utf-8")
    state = {name.removeprefix(NETWORK): t.float() for name, t in tensors.items() if name.startswith(NETWORK)}
    if not state:
        return "The VAE is there. Go on with `store`."
    stage, step = facts["stage"], facts["step"]
    if step is None:
        work.weights(stage).parent.mkdir()
        save_file(with_clip_vision(state), work.weights(stage))
        return f"The VAE and {stage} are there. Go on with `store` and the stage after {stage}."
    _save_unfinished(work.folder / stage, step, facts["plan"], MODULE, state)
    return f"The VAE and {step} steps of {stage} are there. Go on with `store` and `{stage}`."


def _save_unfinished(folder: Path, step: int, plan: dict[str, Any], module: str, state: dict[str, Tensor]) -> None:
    """Save a checkpoint of `step` steps without moments. module: what the names in a checkpoint begin with."""
    trained = {f"{module}{name}": tensor.float() for name, tensor in state.items()}
    kept = {"plan": plan, "start": {}, "scaler": {}, "versions": {"torch": torch.__version__}}
    checkpoints.save(folder, Checkpoint(step, kept, trained, trained if plan["ema_decay"] else {}, {}))


def _beside(vae: Path) -> Path:
    """Return the metrics beside a VAE. ValueError: it or they are not there."""
    missing = [str(path) for path in (vae, vae.with_name(METRICS)) if not path.is_file()]
    if missing:
        raise ValueError(
            f"Not found: {', '.join(missing)}. A VAE is kept with the {METRICS} of its training beside it."
        )
    return vae.with_name(METRICS)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads((file.metadata() or {})[FACTS])
        return facts, load_file(path)
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise ValueError(f"{path} is no snapshot of a training ({error!r}). Choose what `snapshot` wrote.") from error
