"""Farm Fingerprint: which model files and which version of the pack a server has, for runs on several servers."""

import hashlib
import json
import os
from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ..doctor.package_check import read_pyproject
from ..media.sampled_hash import sampled_hash
from .common.node_text import show_text

PACK = Path(__file__).resolve().parent.parent
MODEL_FILES = (".safetensors", ".sft", ".gguf", ".onnx", ".ckpt", ".pt", ".pth", ".bin")
NOT_MODELS = {"custom_nodes", "configs"}  # of ComfyUI's folders
MAX_FILES = 1000


class Fingerprint(io.ComfyNode):
    """Names of model files to hashes of their contents."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerFingerprint",
            display_name="Farm Fingerprint",
            category="SteadyDancer/memory",
            description=(
                "Reports hashes of model files and the version of this pack as JSON. python -m evaluation.farm asks "
                "each server for them, so that no cell is made with other models."
            ),
            search_aliases=["hash", "checksum", "version", "farm"],
            is_output_node=True,
            is_dev_only=True,
            inputs=[
                io.String.Input(
                    "files",
                    default="[]",
                    tooltip="JSON list of names of model files, as loaders list them. At most 1000.",
                )
            ],
            outputs=[io.String.Output("report", tooltip="JSON: fingerprint, pack_version and a hash for each file.")],
        )

    @classmethod
    def fingerprint_inputs(cls, files: str | None = None) -> list:
        """Return sizes and modification times: while these are the same, ComfyUI keeps the report."""
        try:
            names = read_names(files or "[]")
        except ValueError:
            return [files]
        stats = [(path, path.stat()) for name in names for path in places_of(name)]
        return [(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in stats]

    @classmethod
    def execute(cls, files: str) -> io.NodeOutput:
        models = {name: hash_of(name) for name in read_names(files)}
        report = {
            "fingerprint": hashlib.sha256(json.dumps(models, sort_keys=True).encode()).hexdigest(),
            "pack_version": read_pyproject((PACK / "pyproject.toml").read_text("utf-8"))[0],
            "models": models,
        }
        text = json.dumps(report, indent=2)
        return io.NodeOutput(text, ui=show_text(text))


def read_names(files: str) -> list[str]:
    """Return the names of model files in a JSON list; ValueError for anything else."""
    try:
        names = json.loads(files)
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(names) > MAX_FILES:
        raise ValueError(f'files must be a JSON list of at most {MAX_FILES} names, such as ["vae/a.safetensors"].')
    others = [name for name in names if not name.lower().endswith(MODEL_FILES)]
    if others:
        raise ValueError(f"{others[0]} is no model file. Give names that end in {', '.join(MODEL_FILES)}.")
    return sorted(set(names))


def places_of(name: str) -> list[Path]:
    """Return the files of that name below ComfyUI's model folders, each once."""
    kinds = [kind for kind in folder_paths.folder_names_and_paths if kind not in NOT_MODELS]
    found = (folder_paths.get_full_path(kind, name) for kind in kinds)
    return [Path(path) for path in sorted({os.path.realpath(path) for path in found if path})]


def hash_of(name: str) -> str:
    """Return the hash of a file's content, "" if there is none; hashes joined where folders hold different files."""
    return "+".join(sorted({sampled_hash(path) for path in places_of(name)}))


NODES = [Fingerprint]
