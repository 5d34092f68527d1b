"""Imports between packages follow one order, without a cycle or a way back; files are ASCII and not long."""

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACK = Path(__file__).resolve().parents[2]
# What each package may import of the pack, beside itself; the whole order, from the bottom to the top.
MAY_IMPORT = {
    "media": "",
    "dwpose/packages": "",
    "dwpose": "media dwpose/packages",
    "dwpose/detect": "media dwpose/packages dwpose",
    "dwpose/track": "media dwpose/packages dwpose dwpose/detect",
    "dwpose/edit": "media dwpose/packages dwpose dwpose/track",
    "dwpose/formats": "media dwpose/packages dwpose dwpose/track",
    "steadydancer_core": "",
    "steadydancer_core/model": "",
    "steadydancer_core/weights": "steadydancer_core/model media",
    "steadydancer_core/memory": "steadydancer_core/model steadydancer_core/weights media",
    "steadydancer_core/sampling": "steadydancer_core/model steadydancer_core/weights steadydancer_core/memory media",
    "steadydancer_core/long_video": "CORE media",
    "comfy_client": "",
    "miniature": "media",
    "evaluation": "CORE DWPOSE media comfy_client",
    "evaluation/farm": "CORE DWPOSE media comfy_client evaluation miniature",
    "doctor": "CORE DWPOSE media",
    "nodes/common": "CORE DWPOSE media",
    "nodes": "CORE DWPOSE media evaluation doctor miniature nodes/common",
    "training": "CORE DWPOSE media evaluation miniature comfy_client",
}
GROUPS = {
    "CORE": {name for name in MAY_IMPORT if name.startswith("steadydancer_core/")},
    "DWPOSE": {name for name in MAY_IMPORT if name.startswith("dwpose")},
}
# Modules above the folder they lie in: the pose pipeline uses every stage.
ABOVE = {"dwpose/pipeline.py": {"media"} | GROUPS["DWPOSE"]}
TOP = {name.split("/")[0] for name in MAY_IMPORT} | {"tools", "benchmarks", "tests"}
COMFYUI = {"comfy", "comfy_api", "comfy_extras", "comfy_execution", "folder_paths", "nodes", "execution", "server"}
TORCH = {"torch", "torchvision", "torchaudio"}
# Modules from outside that a top-level package may not import; ComfyUI's node API is for the nodes.
FORBIDDEN = {
    "media": COMFYUI,
    "dwpose": COMFYUI | TORCH,
    "steadydancer_core": COMFYUI - {"comfy"},
    "comfy_client": COMFYUI - {"comfy"} | TORCH - {"torch"},
    "evaluation": COMFYUI - {"comfy"},
    "doctor": COMFYUI - {"comfy", "folder_paths"},
    "nodes": set(),
    "miniature": COMFYUI,
    "training": COMFYUI - {"comfy"},
}
TRANSFORMER = "steadydancer_core/model/transformer.py"
TRANSFORMER_IMPORTS = {"comfy", "torch", "collections", "functools"} | {
    f"steadydancer_core/model/{name}.py" for name in ("pose_modulation", "pose_windows", "block_attention")
}
MAX_LINES = 350


@cache
def imports(file: Path, pack: Path) -> set[str]:
    """Return what a file imports: of the pack "/" and the path of the file or package, else a module's dotted name."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module)
        elif isinstance(node, ast.ImportFrom):
            base = file.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            found |= {target_of(base, alias.name, pack) for alias in node.names}
    return found


def target_of(base: Path, name: str, pack: Path) -> str:
    """Return "/path" of what `from base import name` names: a module or package there, else the module `base`."""
    for path in (base / f"{name}.py", base / name, base.with_suffix(".py")):
        if path.exists():
            return "/" + path.relative_to(pack).as_posix()
    return "/" + (base / name if base == pack else base).relative_to(pack).as_posix()


def package_of(path: str) -> str:
    """Return the innermost package of MAY_IMPORT that a path in the pack lies in, else its first folder."""
    parts = path.removesuffix(".py").split("/")
    names = ["/".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return next((name for name in names if name in MAY_IMPORT), parts[0])


def allowed(package: str) -> set[str]:
    names = MAY_IMPORT[package].split()
    return {package}.union(*(GROUPS.get(name, {name}) for name in names))


def product_files(pack: Path) -> list[Path]:
    return [file for top in sorted({name.split("/")[0] for name in MAY_IMPORT}) for file in (pack / top).rglob("*.py")]


def violations(pack: Path) -> list[str]:
    """Return 'file: import' for every import that the order forbids."""
    wrong = []
    for file in product_files(pack):
        name = file.relative_to(pack).as_posix()
        package = package_of(name)
        may = ABOVE.get(name) or allowed(package)
        for target in sorted(imports(file, pack)):
            if target.startswith("/"):
                bad = package_of(target[1:]) not in may
                # a node file takes helpers from nodes/common
                bad |= package == package_of(target[1:]) == "nodes" and name != "nodes/__init__.py"
            else:  # a package of the pack by its bare name works by accident only, and `nodes` is ComfyUI's
                bad = target.split(".")[0] in FORBIDDEN[name.split("/")[0]] | TOP - {"nodes"}
                bad &= not name.endswith("/__main__.py")
            if bad:
                wrong.append(f"{name}: {target}")
    return wrong


def test_no_import_goes_up():
    assert violations(PACK) == []


def test_no_file_imports_itself_through_others():
    graph = {}
    for file in product_files(PACK):
        graph[file.relative_to(PACK).as_posix()] = {name[1:] for name in imports(file, PACK) if name[0] == "/"}
    order = list(TopologicalSorter(graph).static_order())  # CycleError names the files of a cycle
    assert set(graph) <= set(order)


def test_the_transformer_imports_comfy_torch_and_its_own_parts_alone():
    found = imports(PACK / TRANSFORMER, PACK)
    assert {name[1:] if name[0] == "/" else name.split(".")[0] for name in found} <= TRANSFORMER_IMPORTS


def plant(root, file, text):
    """Write one source file below an empty root, and return the root."""
    (root / file).parent.mkdir(parents=True)
    (root / file).write_text(text)
    return root


ORDER = list(MAY_IMPORT)


@pytest.mark.parametrize("package", ORDER)
def test_each_forbidden_direction_is_caught(tmp_path, package):
    """A planted import of every package that is not allowed, from every package."""
    forbidden = [name for name in ORDER if name not in allowed(package)]
    up = "." * (len(package.split("/")) + 1)
    text = "\n".join(f"from {up}{name.replace('/', '.')}.b import c" for name in forbidden)
    root = plant(tmp_path, f"{package}/a.py", text)
    for name in forbidden:
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / "b.py").touch()
    assert len(violations(root)) == len(forbidden)


@pytest.mark.parametrize(
    ("wrong", "file", "line"),
    [
        (1, "dwpose/a.py", "import torch"),
        (1, "dwpose/edit/a.py", "from torch.nn import functional"),
        (1, "dwpose/a.py", "import comfy.utils"),
        (1, "dwpose/a.py", "def f():\n    from ..steadydancer_core import model"),
        (1, "dwpose/a.py", "from .. import nodes"),
        (1, "steadydancer_core/model/a.py", "from comfy_api.latest import io"),
        (1, "steadydancer_core/model/a.py", "import nodes"),
        (1, "steadydancer_core/model/a.py", "from ...media.frames import crop"),
        (1, "nodes/a.py", "from ..tools.demo import main"),
        (1, "nodes/a.py", "from .b import helper"),
        (1, "nodes/common/a.py", "from ..b import helper"),
        (1, "nodes/a.py", "import steadydancer_core.model"),
        (1, "media/a.py", "import comfy.utils"),
        (1, "training/a.py", "from ..tools.demo import main"),
        (1, "evaluation/a.py", "import folder_paths"),
        (0, "nodes/a.py", "from ..steadydancer_core.weights.a import A\nfrom .common import b\nimport torch"),
        (0, "nodes/a.py", "from ..miniature import write_all\nfrom comfy_api.latest import io\nimport nodes"),
        (0, "nodes/__init__.py", "from .a import NODES"),
        (0, "steadydancer_core/model/a.py", "from .nodes import b\nimport comfy.ldm.wan.model"),
        (0, "dwpose/a.py", "import numpy, cv2\nfrom .skeleton import LIMBS\nfrom ..media.atomic_write import write"),
        (0, "dwpose/pipeline.py", "from .edit.align import align\nfrom .formats.keypoints import read"),
    ],
)
def test_a_planted_violation_is_caught_and_what_the_order_allows_is_none(tmp_path, wrong, file, line):
    root = plant(tmp_path, file, line)
    (root / "nodes").mkdir(exist_ok=True)
    assert len(violations(root)) == wrong


def test_python_files_are_ascii_and_short():
    folders = [PACK / name for name in TOP]
    files = [*PACK.glob("*.py"), *(file for folder in folders for file in folder.rglob("*.py"))]
    assert len(files) > 100
    assert [file for file in files if not file.read_bytes().isascii()] == []
    code = [file for file in files if "tests" not in file.relative_to(PACK).parts]
    assert {file: lines for file in code if (lines := len(file.read_bytes().splitlines())) > MAX_LINES} == {}
