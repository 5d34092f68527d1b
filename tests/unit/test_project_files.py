"""What the project's own files promise: one test command, one list of requirements, no key that ComfyUI trips over."""

import ast
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PACK = Path(__file__).resolve().parents[2]


def text(name: str) -> str:
    return (PACK / name).read_text("utf-8")


def test_ci_runs_the_test_command_of_the_readme_and_nothing_else():
    commands = [line for line in text(".ci/run").splitlines() if not re.match(r"#|set |cd ", line)]
    assert len(commands) == 1
    assert commands[0].endswith("nox -s tests")
    assert f"\n    {commands[0]}\n" in text("README.md")
    assert f"\n    {commands[0].replace('-s tests', '-s demo')}\n" in text("README.md")


def test_requirements_equal_the_dependencies():
    lines = [line for line in text("requirements.txt").splitlines() if line and not line.startswith("#")]
    listed = re.search(r"^dependencies = \[(.*?)\]", text("pyproject.toml"), re.M | re.S)[1]
    assert re.findall(r'"([^"]+)"', listed) == lines


@pytest.mark.parametrize("shipped", ["torch", "numpy", "scipy", "pillow", "av", "transformers"])
def test_nothing_that_comfyui_ships_is_required(shipped):
    assert not re.search(rf"^{shipped}\b", text("requirements.txt"), re.M | re.I)


def test_no_version_is_pinned():
    lines = [line.partition(";")[0] for line in text("requirements.txt").splitlines() if not line.startswith("#")]
    assert [line for line in lines if re.search("[<>=~]", line)] == []


def test_one_build_of_onnx_runtime_is_required_on_every_machine():
    lines = [Requirement(line) for line in text("requirements.txt").splitlines() if line.startswith("onnxruntime")]
    for platform, processor in (("linux", "x86_64"), ("win32", "AMD64"), ("darwin", "arm64"), ("linux", "aarch64")):
        machine = {"sys_platform": platform, "platform_machine": processor}
        assert len([line for line in lines if line.marker.evaluate(machine)]) == 1, machine


def published() -> set[str]:
    """Return the modules and pages that the rules of .comfyignore leave; of rules that match, the last one counts."""
    rooms = [path for path in PACK.iterdir() if path.is_dir() and path.name[0] not in "._"]
    rooms = [path for path in rooms if not (path / "pyvenv.cfg").exists()]
    files = [*PACK.glob("*.*"), *(file for room in rooms for file in room.rglob("*.*"))]
    names = [file.relative_to(PACK).as_posix() for file in files if file.suffix in (".py", ".md")]
    return {name for name in names if _left(name)}


def _left(name: str) -> bool:
    left = True
    for rule in text(".comfyignore").split():
        pattern = rule.removeprefix("!")
        if fnmatch(name, f"{pattern}*" if pattern.endswith("/") else pattern):
            left = rule.startswith("!")
    return left


def imported(file: str) -> list[set[str]]:
    """Return for each relative import of a module the files that it may mean."""
    found = []
    for node in ast.walk(ast.parse(text(file))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = Path(file).parents[node.level - 1].joinpath(*(node.module or "").split("."))
            names = [base, *(base / alias.name for alias in node.names)]
            found.append({f"{name}.py" for name in names} | {f"{name}/__init__.py" for name in names})
    return found


def test_what_is_published_imports_only_what_is_published():
    left = published()
    modules = [file for file in left if file.endswith(".py")]
    assert {"__init__.py", "nodes/__init__.py", "tools/doctor.py", "tools/evaluate.py"} <= set(modules)
    assert [(file, names) for file in modules for names in imported(file) if not names & left] == []


def test_commands_that_an_artist_is_told_of_are_published():
    left = published()
    pages = [text(page) for page in left if page.startswith(("web/docs", "docs")) or page == "README.md"]
    told = {name for page in pages for name in re.findall(r"python -m (tools\.\w+)", page)}
    assert "tools.doctor" in told and {f"{name.replace('.', '/')}.py" for name in told} <= left


def test_the_web_folder_is_registered_once():
    assert "WEB_DIRECTORY" in text("__init__.py")
    assert not re.search(r"^web\s*=", text("pyproject.toml"), re.M)
