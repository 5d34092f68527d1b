"""What the project's own files promise: one test command, one list of requirements, no key that ComfyUI trips over."""

import re
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("pinned", ["torch", "numpy", "opencv", "pillow", "transformers"])
def test_nothing_that_comfyui_ships_is_required(pinned):
    assert not re.search(rf"^{pinned}", text("requirements.txt"), re.M | re.I)


def test_the_web_folder_is_registered_once():
    assert "WEB_DIRECTORY" in text("__init__.py")
    assert not re.search(r"^web\s*=", text("pyproject.toml"), re.M)
