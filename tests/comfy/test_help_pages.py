"""The help pages of the nodes: one each, a picture, every input named, every quoted error one that the code can raise.

A translation lies where the page asks for it first, <NodeId>/<language>.md, and says what the English page says.
"""

import json
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
from PIL import Image

from steadydancer_pack.tests.pack_nodes import all_inputs

PACK = Path(__file__).resolve().parents[2]
PAGES = PACK / "web" / "docs"
PICTURES = PAGES / "pictures"
LANGUAGES = ("zh",)
PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)]*)\)")
EDITORS = ("pose_editor.jpg", "align_by_hand.jpg")  # what the buttons of nodes open
BYTES_OF_A_PICTURE, BYTES_OF_ALL = 40_000, 1_000_000
QUOTED_ERROR = re.compile(r'\*"(.+?)"\*', re.S)
HEADING = re.compile(r"^(#+) ", re.M)
CODE = re.compile(r"`([^`]+)`")
BOLD = re.compile(r"\*\*(.+?)\*\*", re.S)
EMPHASIS = re.compile(r"(?<!\*)(\*{1,2})(?!\*)(.+?)\1(?!\*)")
NODE_AND_ITS_ENGLISH_NAME = re.compile(r'(?<!\*)\*([^*"]+?) \(([^*"]+)\)\*')


@pytest.fixture(params=LANGUAGES)
def language(request):
    return request.param


@pytest.fixture
def words(language):
    """What stands on each node in that language."""
    return json.loads((PACK / "locales" / language / "nodeDefs.json").read_text("utf-8"))


@pytest.fixture
def both(language, schemas):
    """The pages in English and in that language, of every node that has them."""
    names = [name for name in schemas if (PAGES / name / f"{language}.md").exists()]
    return {name: (_page(name), _page(f"{name}/{language}")) for name in names}


def _page(name):
    return (PAGES / f"{name}.md").read_text("utf-8")


def _input_rows(page):
    return re.findall(r"^\| `(\w+)`[^|\n]*\|", page, re.M)


def _bracketed(label):
    """In the full-width brackets that Chinese, Japanese and Korean text uses."""
    return f"\uff08{label}\uff09"


def _quoted(page):
    return [" ".join(error.split()) for error in QUOTED_ERROR.findall(page)]


def test_every_node_has_a_page_and_every_page_a_node(schemas):
    expected = {f"{name}.md" for name in schemas} | {f"{name}/{code}.md" for name in schemas for code in LANGUAGES}
    assert {path.relative_to(PAGES).as_posix() for path in PAGES.rglob("*.md")} == expected


def test_a_page_has_its_nodes_title_and_picture_a_table_of_exactly_its_inputs_and_names_every_output(schemas):
    """ComfyUI's page looks for a picture in docs/, whatever the folder of the page."""
    for name, schema in schemas.items():
        page = _page(name)
        assert page.startswith(f"# {schema.display_name}\n"), name
        assert _input_rows(page) == [key.rpartition(".")[2] for key, _ in all_inputs(schema)], name
        assert [o for o in schema.outputs if f"**{o.display_name or o.id}**" not in page] == [], name
        for text in (page, *(_page(f"{name}/{language}") for language in LANGUAGES)):
            title, _, below = text.splitlines()[:3]
            (told, file), *more = PICTURE.findall(text)
            assert {picture for _, picture in more} <= {f"pictures/{editor}" for editor in EDITORS}, name
            assert file == f"pictures/{name}.jpg" and below == f"![{told}]({file})", name
            assert title.removeprefix("# ") in told, name


def test_the_pictures_are_those_of_the_nodes_small_and_can_be_seen(schemas):
    files = list(PICTURES.iterdir())
    assert sorted(file.name for file in files) == sorted([*(f"{name}.jpg" for name in schemas), *EDITORS])
    sizes = [file.stat().st_size for file in files]
    assert max(sizes) <= BYTES_OF_A_PICTURE and sum(sizes) <= BYTES_OF_ALL
    for file in files:
        with Image.open(file) as picture:
            low, high = picture.convert("L").getextrema()
            assert picture.format == "JPEG" and min(picture.size) >= 100 and high - low > 100, file.name


@pytest.mark.parametrize("rules", (".comfyignore", ".gitignore"))
def test_the_pictures_go_with_the_pack(rules):
    patterns = [line.strip("/") for line in (PACK / rules).read_text("utf-8").split()]
    names = ("web", "web/docs", "web/docs/pictures", "SteadyDancerSampler.jpg")
    assert [(pattern, name) for pattern in patterns for name in names if fnmatch(name, pattern)] == []


def test_every_quoted_error_stands_in_the_code(texts):
    for path in PAGES.rglob("*.md"):
        for quoted in _quoted(path.read_text("utf-8")):
            for piece in filter(None, re.split(r"\s*\.\.\.\s*", quoted)):
                assert any(piece in text for text in texts), (path.name, piece)


def test_a_translation_has_the_names_of_the_canvas_and_the_inputs_of_the_schema(both, words, schemas):
    called = {schema.display_name: words[name]["display_name"] for name, schema in schemas.items()}
    for name, (_, page) in both.items():
        node, schema = words[name], schemas[name]
        assert page.startswith(f"# {node['display_name']}\n"), name
        assert _input_rows(page) == [key.rpartition(".")[2] for key, _ in all_inputs(schema)], name
        inputs = [f"| `{i.id}`{_bracketed(node['inputs'][i.id]['name'])} |" for i in schema.inputs]
        outputs = [
            f"**{output.display_name or output.id}**{_bracketed(node['outputs'][str(place)]['name'])}"
            for place, output in enumerate(schema.outputs)
        ]
        assert [label for label in inputs + outputs if label not in page] == [], name
        for here, english in NODE_AND_ITS_ENGLISH_NAME.findall(page):
            assert here == called.get(english, here), name


def _code(page):
    return set(CODE.findall(page))


@pytest.mark.parametrize(
    "parts",
    [HEADING.findall, BOLD.findall, _quoted, _code],
    ids=["headings", "outputs in bold", "quoted errors", "values, files and inputs"],
)
def test_a_translation_has_the_parts_of_the_english_page(both, parts):
    for name, (english, page) in both.items():
        assert parts(page) == parts(english), name


def test_emphasis_in_a_translation_is_closed(both):
    """A star between a bracket or quotation mark and a letter neither opens nor closes: it would be shown."""
    for name, (_, page) in both.items():
        for line in page.splitlines():
            for found in EMPHASIS.finditer(line):
                outside = line[: found.start()][-1:], line[found.end() :][:1]
                inside = found[2][0], found[2][-1]
                for inner, outer in zip(inside, outside, strict=True):
                    assert inner.isalnum() or not outer.isalnum(), (name, line)
