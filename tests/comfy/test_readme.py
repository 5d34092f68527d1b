"""The README and the Chinese one: what they name is there, what is there they name, and both say the same."""

import json
import re
from pathlib import Path

import comfy.ops
import folder_paths
import pytest
import torch

from steadydancer_pack import miniature
from steadydancer_pack.dwpose.detect.detector_files import DWPOSE, YOLOX
from steadydancer_pack.nodes.chunks import chunk_folder
from steadydancer_pack.nodes.common.pose_detection import cache_folder
from steadydancer_pack.nodes.prompt import FOLDER as PROMPTS
from steadydancer_pack.steadydancer_core.model.transformer import SteadyDancerWanModel

PACK = Path(__file__).resolve().parents[2]
ENGLISH, CHINESE = PACK / "README.md", PACK / "docs" / "zh" / "README.md"
PAGES = {"en": ENGLISH, "zh": CHINESE}
# Pages that go on where the README ends, in both languages.
MORE = ("comparison", "demo", "install", "lora", "nodes", "scaling", "switching")
# The tables of the README in their order.
START, LARGE, FILES = range(3)
WORKFLOWS = {file.stem: json.loads(file.read_text("utf-8")) for file in (PACK / "workflows").glob("*.json")}
CODE_BLOCK = re.compile(r"^ {4}\S.*$", re.M)
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
FILE_LINK = re.compile(r"\[`(.+?)`\]\((.+?)\)")
# Names stand in brackets behind the Chinese ones, some with brackets of their own.
ENGLISH_NAME = re.compile(r"\uff08([A-Z][\w -]*(?:\([\w ]+\))?)\uff09")
CHINESE_NAME = re.compile(r"(?:^|\u3001)(.+?)\uff08(?=[A-Z])")


def both(name: str) -> tuple[Path, Path]:
    """Return the English and the Chinese page of that name under docs, or the README."""
    return (ENGLISH, CHINESE) if name == "README" else (PACK / "docs" / f"{name}.md", PACK / "docs/zh" / f"{name}.md")


def texts(name: str) -> list[str]:
    return [path.read_text("utf-8") for path in both(name)]


@pytest.fixture(params=PAGES.values(), ids=PAGES)
def page(request):
    return request.param.read_text("utf-8")


@pytest.fixture(params=["README", *MORE])
def pages(request):
    return texts(request.param)


def tables(page: str) -> list[list[list[str]]]:
    """Return the cells of each table, row by row, without the heading and its line."""
    found = re.findall(r"(?:^\|.*\n)+", page, re.M)
    return [[_cells(row) for row in table.splitlines()[2:]] for table in found]


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("|").split("|")]


def column(table: list[list[str]], index: int = 0) -> list[str]:
    return [row[index] for row in table]


def nodes_of(workflow: dict) -> list[dict]:
    """Return the nodes of the workflow and of its subgraphs."""
    graphs = [workflow, *workflow.get("definitions", {}).get("subgraphs", ())]
    return [node for graph in graphs for node in graph["nodes"]]


def to_download() -> dict[str, dict[str, dict]]:
    """Return by workflow the files that it names, by their names."""
    every = {
        name: [node["properties"].get("models", ()) for node in nodes_of(flow)] for name, flow in WORKFLOWS.items()
    }
    return {name: {model["name"]: model for models in lists for model in models} for name, lists in every.items()}


def sizes(page: str) -> dict[str, float]:
    """Return the sizes of the table of files, in thousand million bytes."""
    return {FILE_LINK.search(row[0])[1]: float(row[1]) for row in tables(page)[FILES]}


def test_every_workflow_has_its_row_and_those_that_need_a_download_their_own_table(page):
    rows = tables(page)
    assert sorted(column(rows[START]) + column(rows[LARGE])) == sorted(WORKFLOWS)
    assert sorted(column(rows[LARGE])) == sorted(name for name, files in to_download().items() if files)


def test_what_a_workflow_downloads_is_added_up(page):
    known = sizes(page)
    for name, _, told in tables(page)[LARGE]:
        assert told == f"{sum(known[file] for file in to_download()[name]):.2g}", name
        assert f"with its folder and link, about {told} GB in all." in json.dumps(WORKFLOWS[name]), name


def test_every_file_has_its_link_and_its_folder(page):
    wanted = {name: model for files in to_download().values() for name, model in files.items()}
    rows = [(*FILE_LINK.search(row[0]).groups(), row[2].strip("`")) for row in tables(page)[FILES]]
    optional = {kind.file for kind in (YOLOX, DWPOSE)}  # that no workflow names
    assert sorted(name for name, _, _ in rows) == sorted(wanted.keys() | optional)
    assert {folder for name, _, folder in rows if name in optional} == {"dwpose"}
    for name, url, folder in (row for row in rows if row[0] in wanted):
        assert (url, folder) == (wanted[name]["url"], wanted[name]["directory"])


def test_the_sizes_are_those_of_the_detectors_files_and_of_the_models_numbers(page):
    known, sizes_14b = sizes(page), {"dim": 5120, "ffn_dim": 13824, "num_heads": 40, "num_layers": 40}
    assert [known[kind.file] for kind in (YOLOX, DWPOSE)] == [round(kind.size / 1e9, 1) for kind in (YOLOX, DWPOSE)]
    factory = {"device": "meta", "dtype": torch.float16, "operations": comfy.ops.disable_weight_init}
    network = SteadyDancerWanModel(model_type="i2v", in_dim=36, **sizes_14b, **factory)
    numbers = sum(parameter.numel() for parameter in network.parameters())
    assert known["Wan21_I2V_SteadyDancer_fp16.safetensors"] == round(2 * numbers / 1e9, 1)
    assert known["Wan21_SteadyDancer_fp8_e4m3fn_scaled_KJ.safetensors"] == round(numbers / 1e9, 1)


def test_every_node_and_blueprint_has_its_row_and_each_node_the_name_of_the_chinese_canvas(schemas):
    wanted = sorted(schema.display_name for schema in schemas.values())
    english, chinese = (column(tables(page)[0]) for page in texts("nodes"))
    assert sorted(name for cell in english for name in cell.split(", ")) == wanted
    assert sorted(name for cell in chinese for name in ENGLISH_NAME.findall(cell)) == wanted
    for nodes in texts("nodes"):
        assert sorted(column(tables(nodes)[1])) == sorted(file.stem for file in (PACK / "subgraphs").glob("*.json"))
    shown = json.loads((PACK / "locales" / "zh" / "nodeDefs.json").read_text("utf-8"))
    on_canvas = sorted(node["display_name"] for node in shown.values())
    assert sorted(name for cell in chinese for name in CHINESE_NAME.findall(cell)) == on_canvas


@pytest.mark.parametrize("language", [0, 1])
def test_this_version_its_requirements_and_what_is_left_behind_are_named(language):
    readme, comparison, install = (texts(name)[language] for name in ("README", "comparison", "install"))
    project, user = (PACK / "pyproject.toml").read_text("utf-8"), Path(folder_paths.get_user_directory())
    assert tables(comparison)[1][0][1] == re.search(r'^version = "(.+)"', project, re.M)[1]
    required = re.findall(r"^[a-z-]+", (PACK / "requirements.txt").read_text("utf-8"), re.M)
    called = {"onnxruntime": "ONNX Runtime", "onnxruntime-gpu": "ONNX Runtime", "opencv-python": "OpenCV"}
    assert all(called[name] in page for name in required for page in (readme, install))
    for folder in (cache_folder(), chunk_folder()):
        assert f"`user/{folder.relative_to(user).as_posix()}`" in install
    assert f"`models/{PROMPTS}`" in install and "`steadydancer_`" in install
    assert all(file.name.startswith("steadydancer_") for file in miniature.FILES)


def shape(page: str) -> list[list[int]]:
    """Return the number of cells in each row of each table."""
    return [[len(row) for row in table] for table in tables(page)]


@pytest.mark.parametrize("parts", [re.compile(r"^(#+) ", re.M).findall, CODE_BLOCK.findall, shape])
def test_both_have_the_same_headings_commands_and_tables(pages, parts):
    english, chinese = map(parts, pages)
    assert english == chinese


def test_both_list_the_same_workflows_and_files_and_give_the_same_numbers_for_the_others():
    """Versions, dates and numbers of the comparison; ends of sentences are written differently."""
    english, chinese = map(tables, texts("README"))
    assert [column(table) for table in english] == [column(table) for table in chinese]
    ours, theirs = (tables(page)[1] for page in texts("comparison"))
    for one, other in zip(ours, theirs, strict=True):
        assert [re.findall(r"\d[\w.-]*\w|\d", cell) for cell in one[1:]] == [
            re.findall(r"[0-9][0-9A-Za-z.-]*[0-9A-Za-z]|[0-9]", cell) for cell in other[1:]
        ], one[0]


@pytest.mark.parametrize("name", ["README", *MORE])
def test_both_name_the_same_code_and_lead_to_the_same_places_and_each_to_the_other(name):
    ours, theirs = (sorted(CODE.findall(page)) for page in texts(name))
    assert ours == theirs
    english, chinese = both(name)
    assert _places(english) == _places(chinese)
    for page, other in ((english, chinese), (chinese, english)):
        (target,) = LINK.findall(page.read_text("utf-8").splitlines()[2])
        assert (page.parent / target).resolve() == other


def _places(path: Path) -> list[str]:
    """Return where the links lead, both languages of a page as one place."""
    found = []
    for target in LINK.findall(path.read_text("utf-8")):
        file, _, _ = target.partition("#")
        if not target.startswith("https://"):
            place = (path.parent / file).resolve() if file else path
            assert place.exists(), target
            target = place.relative_to(PACK).as_posix().replace("docs/zh/README", "README").replace("docs/zh/", "docs/")
            target = target.replace("/zh.md", ".md")
        found.append(target)
    return sorted(found)
