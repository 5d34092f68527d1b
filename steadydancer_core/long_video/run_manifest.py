"""What decides the chunks of a run, as a readable table: its hash is the key of the run, always computed anew.

The table lies as JSON beside the chunks to be read, and to say which setting changed since the last run. Left out,
because the result is bit for bit the same: blocks_to_swap, the shift of the MODEL, which the run replaces, and the
callbacks and attachments of a MODEL. Names of LoRA files are in the table for its reader and not in the key: what
counts of a LoRA is its content.
"""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import comfy.samplers
from comfy.model_patcher import ModelPatcher
from comfyui_version import __version__ as comfyui_version

from ...media.atomic_write import atomic_write
from ..memory.residency import OPTION
from ..sampling.presets import Settings
from ..sampling.schedule import make_solver
from .value_names import ValueNamer, digest, tensors_of

VERSION = 3  # of the chunks' content and its form: raise it whenever the same settings make other files
SUFFIX = ".json"
MOST_MANIFESTS, MOST_SHOWN, LONGEST_SHOWN = 100, 8, 40
PRESET_NAMES = ("name", "step_distilled")  # of a preset: they change no frame
NOT_IN_KEY = ("lora_files",)
SAME_VIDEO = ("photo", "first_pose")  # one of these inputs is the same
# What of a MODEL changes its result, besides weights, LoRAs, options and objects.
MODEL_PARTS = ("weight_wrapper_patches", "wrappers", "injections", "hook_patches", "forced_hooks", "additional_models")


class Manifest(NamedTuple):
    """fields: JSON; unnamed: what of the run has no value to compare with that of a later run."""

    fields: dict
    unnamed: list[str]

    @property
    def key(self) -> str:
        """The key of the run."""
        return digest({name: value for name, value in self.fields.items() if name not in NOT_IN_KEY})


def make_manifest(
    model: ModelPatcher, vae, run: Settings, settings: dict, inputs: dict, run_name: str, lora_files: Sequence[str] = ()
) -> Manifest:
    """Return the manifest of a run: `settings` by name beside those of `run`, and the `inputs` of all its chunks."""
    values, weights = ValueNamer(), ValueNamer(sample=True)
    named = {key: value for key, value in asdict(run).items() if key not in PRESET_NAMES}
    fields = {
        "version": VERSION,
        "comfyui": comfyui_version,
        "run_name": run_name,
        "settings": values(named | settings),
        "solver": values(make_solver(run.solver)),
        "scheduler": values(comfy.samplers.SCHEDULER_HANDLERS.get(run.scheduler)),
        "inputs": values(inputs),
        "lora_files": list(lora_files),
        "model": describe_model(model, weights),
        "vae": {"weights": digest(weights(tensors_of(vae.first_stage_model))), "precision": str(vae.vae_dtype)},
    }
    return Manifest(fields, list(dict.fromkeys(values.unnamed + weights.unnamed)))


def describe_model(model: ModelPatcher, namer: ValueNamer) -> dict:
    """Return the JSON of a MODEL: a hash of its weights as loaded, its LoRAs, patches, wrappers and options."""
    network = model.model
    # A LoRA that was applied is part of the weights; what was there before it is in the backup.
    weights = {f"diffusion_model.{name}": weight for name, weight in tensors_of(network.diffusion_model).items()}
    weights |= {key: kept.weight for key, kept in model.backup.items() if key in weights}
    precision = [network.get_dtype(), getattr(network, "manual_cast_dtype", None), network.model_config.optimizations]
    return {
        "weights": digest(namer(weights)),
        "precision": namer(precision),
        "loras": describe_loras(model.patches, namer),
        "options": namer({key: value for key, value in model.model_options.items() if key != OPTION}),
        "objects": namer({key: value for key, value in model.object_patches.items() if key != "model_sampling"}),
        **{name: namer(getattr(model, name, None) or None) for name in MODEL_PARTS},
    }


def describe_loras(patches: dict[str, list[tuple]], namer: ValueNamer) -> list[dict]:
    """Return strength, number of layers and a hash of each LoRA of a MODEL, in order. A MODEL knows no file names."""
    found: dict[tuple, list] = {}
    for layer, stack in patches.items():
        for place, (strength, weight, model_strength, *rest) in enumerate(stack):
            lora = id(getattr(weight, "loaded_keys", None)), strength, model_strength
            found.setdefault(lora, []).append([layer, place, namer(weight), namer(rest)])
    return [
        {"strength": namer(strength), "model_strength": namer(kept), "layers": len(rows), "weights": digest(rows)}
        for (_, strength, kept), rows in found.items()
    ]


def note_changes(folder: Path, manifest: Manifest) -> str:
    """Write `manifest` into `folder`; return what changed since the last run of the same video, "" if nothing did."""
    path = folder / (manifest.key + SUFFIX)
    last = None if path.is_file() else _last_run(folder, manifest.fields)
    with contextlib.suppress(OSError):  # the chunk that cannot be written either is reported
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as part:
            part.write_text(json.dumps(manifest.fields, indent=1), "utf-8")
        for old in _newest_first(folder)[MOST_MANIFESTS:]:
            old.unlink(missing_ok=True)
    return "" if last is None else ", ".join(_changes(last, manifest.fields)[:MOST_SHOWN])


def _newest_first(folder: Path) -> list[Path]:
    times = []
    for path in folder.glob("*" + SUFFIX):
        with contextlib.suppress(OSError):  # another process may remove files meanwhile
            times.append((path.stat().st_mtime_ns, path))
    return [path for _, path in sorted(times, reverse=True)]


def _last_run(folder: Path, fields: dict) -> dict | None:
    """Return the newest manifest in `folder` of the video of `fields`; a damaged file is passed over."""
    for path in _newest_first(folder):
        with contextlib.suppress(OSError, ValueError, RecursionError, LookupError, TypeError):
            found = json.loads(path.read_text("utf-8"))
            same = any(found["inputs"][name] == fields["inputs"][name] for name in SAME_VIDEO)
            if same and found["run_name"] == fields["run_name"]:
                return found
    return None


def _changes(before, now, path: tuple[str, ...] = ()) -> list[str]:
    """Return what differs between two JSON values, a phrase each: numbers and short texts with both values."""
    texts = json.dumps(before), json.dumps(now)
    if texts[0] == texts[1]:
        return []
    if isinstance(before, dict) and isinstance(now, dict):
        keys = dict.fromkeys([*before, *now])
        return [text for key in keys for text in _changes(before.get(key), now.get(key), (*path, key))]
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = enumerate(zip(before, now, strict=True), 1)
        return [text for i, pair in pairs for text in _changes(*pair, (*path, str(i)))]
    name = " ".join(path[1:] if path[0] in ("settings", "inputs") else path)
    return [f"{name} {texts[0]} -> {texts[1]}" if max(map(len, texts)) <= LONGEST_SHOWN else name]
