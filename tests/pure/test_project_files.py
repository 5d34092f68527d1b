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


def requirement_lines() -> list[str]:
    return [line for line in text("requirements.txt").splitlines() if line and not line.startswith("#")]


def test_requirements_equal_the_dependencies_and_name_nothing_that_comfyui_ships():
    listed = re.search(r"^dependencies = \[(.*?)\]", text("pyproject.toml"), re.M | re.S)[1]
    assert re.findall(r'"([^"]+)"', listed) == requirement_lines()
    shipped = {"torch", "torchvision", "numpy", "scipy", "pillow", "av", "transformers"}
    assert not shipped & {Requirement(line).name.lower() for line in requirement_lines()}


def test_every_requirement_can_be_installed_alone():
    """ComfyUI-Manager reads the file in the machine's encoding, cuts each line at "#" and gives it to pip by itself."""
    assert text("requirements.txt").isascii()
    for line in requirement_lines():
        requirement = Requirement(line)
        assert "#" not in line and line == line.strip() and not requirement.url, line
        assert not requirement.specifier and not requirement.extras, line


def test_one_build_of_onnx_runtime_is_required_on_every_machine():
    lines = [Requirement(line) for line in requirement_lines() if line.startswith("onnxruntime")]
    for platform, processor in (("linux", "x86_64"), ("win32", "AMD64"), ("darwin", "arm64"), ("linux", "aarch64")):
        machine = {"sys_platform": platform, "platform_machine": processor}
        (needed,) = (line.name for line in lines if line.marker.evaluate(machine))
        assert needed == ("onnxruntime-gpu" if processor in ("x86_64", "AMD64") else "onnxruntime"), machine


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


def test_what_is_published_imports_only_what_is_published_and_has_the_commands_of_the_pages():
    left = published()
    modules = [file for file in left if file.endswith(".py")]
    assert {"__init__.py", "nodes/__init__.py", "tools/doctor.py", "evaluation/command.py"} <= set(modules)
    assert [(file, names) for file in modules for names in imported(file) if not names & left] == []
    pages = [text(page) for page in left if page.startswith(("web/docs", "docs")) or page == "README.md"]
    told = {f"tools/{name}" for page in pages for name in re.findall(r"tools[/\\](\w+\.py)", page)}
    assert {"tools/convert.py", "tools/doctor.py"} <= told <= left
    assert any("FOLDER_OF_THE_PACK/evaluation --help" in page for page in pages) and "evaluation/command.py" in left
    assert not any("python -m tools." in page for page in pages)  # the portable ComfyUI's Python finds no module here


@pytest.mark.parametrize("folder", ["dwpose/weights", "locales", "miniature/files", "subgraphs", "web", "workflows"])
def test_what_the_nodes_and_the_page_read_is_published(folder):
    files = [file for file in (PACK / folder).rglob("*.*") if file.is_file() and file.suffix != ".pyc"]
    assert files and [file.name for file in files if not _left(file.relative_to(PACK).as_posix())] == []


def test_what_is_published_leaves_devices_and_layers_to_comfyui():
    """The checks that comfy-test makes of a pack; training and tests, which are not published, may do otherwise."""
    alone = re.compile(
        r"\.cuda\(|\.to\(\s*(torch\.device\()?[\"']cuda|autocast\(|torch\.load\(|cuda\.empty_cache\("
        r"|(?<![\w.])(torch\.)?nn\.(Linear|Conv\w+|LayerNorm|GroupNorm|Embedding)\("
    )
    assert alone.search(text("training/optimizer_state.py"))
    assert [file for file in published() if file.endswith(".py") and alone.search(text(file))] == []


@pytest.mark.parametrize(("key", "widths", "shape"), [("Icon", range(1, 401), 1), ("Banner", range(840, 2521), 21 / 9)])
def test_the_registry_finds_pictures_of_its_shapes(key, widths, shape):
    repository = re.search(r'^Repository = "https://github.com/(.+)"', text("pyproject.toml"), re.M)[1]
    prefix = f"https://raw.githubusercontent.com/{repository}/main/"
    address = re.search(rf'^{key} = "(.+)"', text("pyproject.toml"), re.M)[1]
    assert address.startswith(prefix)
    width, height = map(int, re.search(r'viewBox="0 0 (\d+) (\d+)"', text(address.removeprefix(prefix))).groups())
    assert width in widths and width == pytest.approx(height * shape)


def test_the_web_folder_is_registered_once():
    assert "WEB_DIRECTORY" in text("__init__.py")
    assert not re.search(r"^web\s*=", text("pyproject.toml"), re.M)


def test_a_checkout_on_windows_has_the_same_bytes():
    rules = [line.split(maxsplit=1) for line in text(".gitattributes").splitlines() if not line.startswith("#")]
    assert rules[0] == ["*", "text=auto eol=lf"]
    binary = {pattern.removeprefix("*") for pattern, rule in rules[1:] if rule == "binary"}
    rooms = ["dwpose", "locales", "miniature/files", "subgraphs", "tests", "tools", "web", "workflows"]
    files = [file for room in rooms for file in (PACK / room).rglob("*.*") if file.is_file() and file.suffix != ".pyc"]
    assert {file.suffix for file in files if b"\0" in file.read_bytes()} == binary
    assert [file for file in files if file.suffix not in binary and b"\r" in file.read_bytes()] == []
