"""The help of the training's command, which comes before PyTorch and ComfyUI are loaded."""

import subprocess
import sys
from pathlib import Path

import pytest

PACK = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("words", "shown"), [((), "restore"), (("stage1",), "--preview-vae"), (("sweep",), "--windows")]
)
def test_help_loads_neither_pytorch_nor_comfyui(words, shown):
    command = [sys.executable, "-X", "importtime", "-m", "training", *words, "--help"]
    done = subprocess.run(command, cwd=PACK, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and shown in done.stdout, done.stderr[-2000:]
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "argparse" in loaded and not loaded & {"torch", "comfy", "numpy", "accelerate"}
