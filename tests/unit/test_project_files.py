"""What the project's own files promise: one test command, one list of requirements, no key that ComfyUI trips over."""

import re
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


def test_the_web_folder_is_registered_once():
    assert "WEB_DIRECTORY" in text("__init__.py")
    assert not re.search(r"^web\s*=", text("pyproject.toml"), re.M)
