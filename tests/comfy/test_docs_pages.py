"""The pages under docs: links, names, quoted errors, tables, and the Chinese beside the English."""

import json
import re
from collections import Counter
from pathlib import Path

import comfy.model_management
import pytest
import torch

from steadydancer_pack.steadydancer_core.weights.loading import supports_fp8

PACK = Path(__file__).resolve().parents[2]
DOCS = PACK / "docs"
NAMES = ("troubleshooting.md", "limits.md", "compatibility.md")
ENGLISH, CHINESE = [DOCS / name for name in NAMES], [DOCS / "zh" / name for name in NAMES]
PAGES = ENGLISH + CHINESE
PAIRS = list(zip(ENGLISH, CHINESE, strict=True))
# test_readme.py compares the languages of these
MORE = ("README.md", "comparison.md", "demo.md", "install.md", "lora.md", "nodes.md", "scaling.md", "switching.md")
READMES = [PACK / "README.md", *(DOCS / name for name in MORE[1:]), *(DOCS / "zh" / name for name in MORE)]
QUOTED_ERROR = re.compile(r'\*"(.+?)"\*', re.S)
CODE = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
DEFINITION = re.compile(r"^\[([^\]]+)\]: (\.\./\S+).*$", re.M)
USE = re.compile(r"(?<!!)\[([^\]]+)\](?!\()")
STOCK_NODES = {"VAE Decode", "VAE Decode (Tiled)", "Load Diffusion Model", "Load LoRA"}
BUILDS = ("onnxruntime", "onnxruntime-directml", "onnxruntime-gpu", "onnxruntime-gpu<1.27", "onnxruntime-openvino")
REINSTALLED = ("opencv-contrib-python", "opencv-python-headless", "onnxruntime-directml")
FLAGS = {"--fp32-vae", "--directml", "cu126", "strength_model", "fix_5d_tensor", "names like this"} | {
    *("--preview-method taesd", "--use-sage-attention", "lighttaew2_1")
}
COMMANDS = {"python", r".\python_embeded\python.exe -s", "pip install -r requirements.txt", '"onnxruntime-gpu<1.27"'}
FOLDERS = {f"models/{name}" for name in ("diffusion_models", "dwpose", "prompt_embeddings", "vae", "vae_approx")}
OF_MANAGER = {"pip_blacklist.list", "pip_overrides.json", "user/__manager", "user/default/ComfyUI-Manager"}
FILES = {"clip_vision_h.safetensors", "wan_2.1_vae.safetensors", "requirements.txt", *OF_MANAGER}
SUFFIXES = {".ckpt", ".gguf", ".pth", ".safetensors.index.json"}
REPAIRS = {f"python -m pip install --force-reinstall --no-deps {package}" for package in REINSTALLED}
FILES_AND_FLAGS = {*BUILDS} | FLAGS | COMMANDS | FOLDERS | FILES | SUFFIXES | REPAIRS


def str_path(page: Path) -> str:
    return page.relative_to(PACK).as_posix()


def text(page: Path) -> str:
    return page.read_text("utf-8")


def sections(page: Path) -> list[str]:
    """Return the page cut at its headings, each piece with the heading that begins it."""
    return re.split(r"^(?=#)", text(page), flags=re.M)


def anchors(page: Path) -> set[str]:
    """Return what the page's headings are called in links, as GitHub makes it."""
    headings = re.findall(r"^#+ (.+)$", text(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def words(schema) -> set[str]:
    """Return the names of a node's inputs and outputs, and the options of its lists."""
    options = {str(option) for i in schema.inputs for option in getattr(i, "options", None) or ()}
    return options | {i.id for i in schema.inputs} | {o.display_name or o.id for o in schema.outputs}


def linked(page: Path, piece: str) -> set[str]:
    """Return the ids of the nodes that a piece of the page links."""
    targets = dict(DEFINITION.findall(text(page)))
    return {node_of(targets[name]) for name in uses(piece)}


def uses(piece: str) -> set[str]:
    """Return the names in square brackets that a definition of the page must explain."""
    return spans(USE, DEFINITION.sub("", piece)).keys()


def node_of(target: str) -> str:
    return re.search(r"web/docs/(\w+)", target)[1]


def spans(pattern: re.Pattern, piece: str) -> Counter:
    return Counter(" ".join(span.split()) for span in pattern.findall(piece))


def test_the_pages_are_these_and_go_with_the_package():
    assert sorted(DOCS.rglob("*.md")) == sorted([*PAGES, *READMES[1:]])
    assert "docs" not in text(PACK / ".comfyignore")


@pytest.mark.parametrize("page", [*PAGES, *READMES], ids=str_path)
def test_every_relative_link_leads_somewhere(page):
    targets = [*LINK.findall(text(page)), *(target for _, target in DEFINITION.findall(text(page)))]
    for target in targets:
        path, _, anchor = target.partition("#")
        if not target.startswith("https://"):
            place = (page.parent / path).resolve() if path else page
            assert place.is_file(), target
            assert not anchor or anchor in anchors(place), target


@pytest.mark.parametrize("page", PAGES, ids=str_path)
def test_every_node_link_names_its_node_and_every_code_word_belongs_to_one_that_its_section_links(page, schemas):
    if page.parent == DOCS:
        for name, target in DEFINITION.findall(text(page)):
            assert schemas[node_of(target)].display_name == name
    defined = {name for name, _ in DEFINITION.findall(text(page))}
    assert uses(text(page)) == defined
    for piece in sections(page):
        known = FILES_AND_FLAGS.union(*(words(schemas[node]) for node in linked(page, piece)))
        assert set(spans(CODE, piece)) <= known, piece.splitlines()[0]


@pytest.mark.parametrize("page", ENGLISH, ids=str_path)
def test_an_input_of_a_node_is_one_of_that_node_and_every_node_of_comfyui_is_known(page, schemas):
    """`x` and `y` of [Node]. In italics: nodes of ComfyUI, its own words, and words for a prompt, no node of ours."""
    by_name = {schema.display_name: schema for schema in schemas.values()}
    found = re.findall(r"((?:`[^`]+`(?:, | and |, and )?)+) of \[([^\]]+)\]", " ".join(text(page).split()))
    assert found
    for code, node in found:
        assert set(spans(CODE, code)) <= words(by_name[node]), (code, node)
    italics = set(spans(re.compile(r"(?<![*\w])\*([^*\"\s][^*]*)\*(?!\*)"), text(page)))
    assert not italics & by_name.keys()
    assert {name for name in italics if re.match(r"(Load|VAE) ", name)} <= STOCK_NODES


@pytest.mark.parametrize("page", PAGES, ids=str_path)
def test_every_quoted_error_stands_in_the_code(page, texts):
    for quoted in spans(QUOTED_ERROR, text(page)):
        for piece in filter(None, re.split(r"\s*\.\.\.\s*", quoted)):
            assert any(piece in string for string in texts), piece


@pytest.mark.parametrize("page", [DOCS / "troubleshooting.md", DOCS / "zh" / "troubleshooting.md"], ids=str_path)
def test_the_override_for_comfyui_manager_is_the_line_of_our_requirements(page):
    """It compares whole lines, and its blacklist knows no line with a condition."""
    block = re.search(r"^    \{.*?^    \}$", text(page), re.M | re.S)[0]
    lines = [line for line in text(PACK / "requirements.txt").splitlines() if line.startswith("onnxruntime-gpu")]
    assert lines[0] in json.loads(block)


@pytest.mark.parametrize(("english", "chinese"), PAIRS, ids=NAMES)
def test_the_chinese_page_says_the_same_section_by_section(english, chinese):
    pairs = list(zip(sections(english), sections(chinese), strict=True))
    for ours, theirs in pairs:
        assert re.match("#*", ours)[0] == re.match("#*", theirs)[0]
        for pattern in (CODE, QUOTED_ERROR, re.compile(r"^(?:\d+\.|-) ", re.M)):
            assert spans(pattern, theirs) == spans(pattern, ours), ours.splitlines()[0]
        assert linked(chinese, theirs) == linked(english, ours), ours.splitlines()[0]


@pytest.mark.parametrize("page", [*CHINESE, *READMES[len(MORE) :]], ids=str_path)
def test_chinese_emphasis_is_closed(page):
    """A star between a punctuation mark and a letter neither opens nor closes emphasis: it would be shown."""
    for line in text(page).splitlines():
        for found in re.finditer(r"(?<!\*)(\*{1,2})(?!\*)(.+?)\1(?!\*)", line):
            around = line[: found.start()][-1:], line[found.end() :][:1]
            for inner, outer in zip((found[2][0], found[2][-1]), around, strict=True):
                assert inner.isalnum() or not outer.isalnum(), line


@pytest.mark.parametrize("page", CHINESE, ids=str_path)
def test_the_chinese_pages_name_nodes_and_inputs_as_the_canvas_does(page, schemas):
    shown = json.loads((PACK / "locales" / "zh" / "nodeDefs.json").read_text("utf-8"))
    for name, target in DEFINITION.findall(text(page)):
        assert name == shown.get(node_of(target), {}).get("display_name", schemas[node_of(target)].display_name)
    for piece in sections(page):
        used = [labels(schemas[node], shown.get(node, {})) for node in linked(page, piece)]
        for word, label in re.findall(r"`(\w+)`\uff08([^\uff09]+)\uff09", piece):
            assert not any(word in names for names in used) or any(label in names.get(word, ()) for names in used), word


@pytest.mark.parametrize("page", [DOCS / "compatibility.md", DOCS / "zh" / "compatibility.md"], ids=str_path)
def test_the_cards_that_hold_fp8_are_those_of_comfyui(page, monkeypatch):
    rows = [line.strip("| ").split(" | ") for line in text(page).splitlines() if re.match(r"\|.*`onnx", line)]
    assert len(rows) == 10
    for _, pytorch, _, fp8, _ in rows:
        device = {"MPS": "mps", "CPU": "cpu", "XPU": "xpu", "DirectML": "privateuseone"}.get(pytorch, "cuda")
        with monkeypatch.context() as patch:
            patch.setattr(comfy.model_management, "directml_enabled", pytorch == "DirectML")
            assert supports_fp8(torch.device(device)) == (not fp8.startswith(("no", "\u4e0d"))), pytorch


def labels(schema, shown: dict) -> dict[str, set[str]]:
    """Return by id what a node's inputs and outputs are called on the canvas."""
    found: dict[str, set[str]] = {}
    for i in schema.inputs:
        found.setdefault(i.id, set()).add(shown.get("inputs", {}).get(i.id, {}).get("name", i.id))
    for index, output in enumerate(schema.outputs):
        word = output.display_name or output.id
        found.setdefault(word, set()).add(shown.get("outputs", {}).get(str(index), {}).get("name", word))
    return found
