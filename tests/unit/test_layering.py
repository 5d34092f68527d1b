"""Imports between packages: nodes -> steadydancer_core, dwpose, miniature -> media; none back. ASCII; no long file."""

import ast
from pathlib import Path

import pytest

PACK = Path(__file__).resolve().parents[2]
ROOMS = {"nodes", "steadydancer_core", "dwpose", "miniature", "media", "training", "tools", "tests"}
MAY_IMPORT = {
    "nodes": {"steadydancer_core", "dwpose", "miniature", "media"},
    "steadydancer_core": {"media"},
    "dwpose": {"media"},
    "miniature": set(),
    "media": set(),
    "training": {"steadydancer_core", "dwpose", "miniature", "media"},
}
COMFYUI = {"comfy", "comfy_api", "comfy_extras", "comfy_execution", "folder_paths", "nodes", "execution", "server"}
FORBIDDEN_MODULES = {
    "nodes": set(),
    "steadydancer_core": COMFYUI - {"comfy"},
    "dwpose": COMFYUI | {"torch", "torchvision", "torchaudio"},
    "miniature": COMFYUI,
    "media": COMFYUI | {"torch", "torchvision", "torchaudio"},
    "training": COMFYUI - {"comfy"},
}
# A command of its own, started in the project's folder, where the rooms lie on the path.
COMMANDS = {"training/__main__.py": {"tools"}}
MAX_LINES = 350


def imported_modules(file: Path, pack: Path) -> set[str]:
    """Return the dotted modules a file imports; its relative imports start with '.' and are counted from the pack."""
    package = file.relative_to(pack).parent.parts
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join((*base, *(node.module or "").split(".")))
            # `from .. import nodes` names a room after `import`
            names = {alias.name for alias in node.names} if not module.strip(".") else {module.strip(".")}
            found |= {"." * bool(node.level) + name for name in names}
    return found


def wrong_arrows(pack: Path) -> list[str]:
    """Return 'file: module' for every import that crosses rooms in a forbidden direction."""
    wrong = []
    for room in MAY_IMPORT:
        for file in sorted((pack / room).rglob("*.py")):
            name = file.relative_to(pack).as_posix()
            for module in sorted(imported_modules(file, pack)):
                target = module.lstrip(".").split(".")[0]
                if module.startswith("."):
                    bad = target in ROOMS - MAY_IMPORT[room] - {room}
                else:  # a room by its bare name only works by accident, and `nodes` is ComfyUI's
                    bad = target in FORBIDDEN_MODULES[room] | (ROOMS - {"nodes"} - COMMANDS.get(name, set()))
                wrong += [f"{name}: {module}"] * bad
    return wrong


def python_files() -> list[Path]:
    rooms = (file for room in ROOMS for file in (PACK / room).rglob("*.py"))
    return sorted([*PACK.glob("*.py"), *rooms])


def test_no_arrow_points_back():
    assert wrong_arrows(PACK) == []


def plant(root, file, text):
    """Write one source file below an empty root, and return the root."""
    (root / file).parent.mkdir(parents=True)
    (root / file).write_text(text)
    return root


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("dwpose/a.py", "import torch"),
        ("dwpose/a.py", "from torch.nn import functional"),
        ("dwpose/a.py", "import comfy.utils"),
        ("dwpose/a.py", "def f():\n    from ..steadydancer_core import model"),
        ("dwpose/a.py", "from .. import nodes"),
        ("dwpose/deep/a.py", "from ...nodes.model import Load"),
        ("steadydancer_core/a.py", "from ..nodes import SteadyDancerExtension"),
        ("steadydancer_core/a.py", "from ..dwpose.draw import draw"),
        ("steadydancer_core/a.py", "from comfy_api.latest import io"),
        ("steadydancer_core/a.py", "import nodes"),
        ("steadydancer_core/a.py", "from ..miniature import write_all"),
        ("nodes/a.py", "from ..tools.comfy_server import ComfyServer"),
        ("nodes/a.py", "import steadydancer_core.model"),
        ("miniature/a.py", "from ..nodes import model"),
        ("media/a.py", "import torch"),
        ("media/a.py", "from ..dwpose import poses"),
    ],
)
def test_a_planted_violation_is_caught(tmp_path, file, line):
    assert len(wrong_arrows(plant(tmp_path, file, line))) == 1


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("nodes/a.py", "from ..steadydancer_core.a import A\nfrom . import b\nfrom ..dwpose import c\nimport torch"),
        ("nodes/a.py", "from ..miniature import write_all\nfrom comfy_api.latest import io\nimport nodes"),
        ("steadydancer_core/a.py", "from . import nodes\nfrom .dwpose import x\nimport comfy.ldm.wan.model"),
        ("dwpose/a.py", "import numpy, cv2\nfrom .skeleton import LIMBS\nfrom ..media import atomic_write"),
    ],
)
def test_the_drawn_arrows_are_allowed(tmp_path, file, line):
    assert wrong_arrows(plant(tmp_path, file, line)) == []


def test_python_files_are_ascii_and_short():
    files = python_files()
    assert len(files) > 10
    assert [file for file in files if not file.read_bytes().isascii()] == []
    code = [file for file in files if "tests" not in file.relative_to(PACK).parts]
    assert {file: lines for file in code if (lines := len(file.read_bytes().splitlines())) > MAX_LINES} == {}
