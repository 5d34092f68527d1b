"""The tests in tests/pure import neither ComfyUI nor PyTorch, so that they start at once and run without both."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

PURE = Path(__file__).resolve().parents[1] / "pure"
# What only the other tiers may import: ComfyUI's modules, and what the environment of this tier lacks.
ABSENT = (
    "accelerate", "comfy", "comfy_api", "comfy_execution", "comfy_extras", "execution", "folder_paths", "nodes",
    "playwright", "safetensors", "server", "tensorboard", "torch", "torchaudio", "torchmetrics", "torchvision",
)  # fmt: skip
COLLECT = """
import sys
for name in sys.argv[2:]:
    sys.modules[name] = None  # an import of it fails
import pytest
sys.exit(pytest.main(["--collect-only", "-qq", "-p", "no:cacheprovider", sys.argv[1]]))
"""


@pytest.mark.parametrize("file", sorted(PURE.glob("test_*.py")), ids=lambda file: file.name)
def test_no_test_imports_what_is_absent(file):
    nodes = list(ast.walk(ast.parse(file.read_text("utf-8"))))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    assert {name.partition(".")[0] for name in names} & set(ABSENT) == set()


def test_all_tests_are_found_where_it_is_absent():
    environment = {name: value for name, value in os.environ.items() if name != "COMFYUI_PATH"}
    command = [sys.executable, "-c", COLLECT, str(PURE), *ABSENT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=PURE.parents[1], env=environment)
    assert done.returncode == 0, done.stdout
