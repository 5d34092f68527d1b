"""The help pages of the nodes: one each, every input named, every quoted error one that the code can raise."""

import ast
import asyncio
import re
from pathlib import Path

import pytest

from steadydancer_pack.nodes import SteadyDancerExtension

PACK = Path(__file__).resolve().parents[2]
PAGES = PACK / "web" / "docs"
ROOMS = ("nodes", "steadydancer_core", "dwpose", "miniature")
QUOTED_ERROR = re.compile(r'\*"(.+?)"\*', re.S)


@pytest.fixture(scope="module")
def schemas():
    async def load():
        extension = SteadyDancerExtension()
        await extension.on_load()
        return [node.GET_SCHEMA() for node in await extension.get_node_list()]

    return {schema.node_id: schema for schema in asyncio.run(load())}


@pytest.fixture(scope="module")
def texts():
    """Every string in the pack's code; of an f-string, the pieces between its values."""
    files = [file for room in ROOMS for file in sorted((PACK / room).rglob("*.py"))]
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text("utf-8")))]
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def test_every_node_has_a_page_and_every_page_a_node(schemas):
    assert {str(path.relative_to(PAGES)) for path in PAGES.rglob("*.md")} == {f"{name}.md" for name in schemas}


def test_a_page_has_the_title_of_its_node_and_names_every_input(schemas):
    for name, schema in schemas.items():
        page = (PAGES / f"{name}.md").read_text("utf-8")
        assert page.startswith(f"# {schema.display_name}\n"), name
        assert [i.id for i in schema.inputs if f"`{i.id}`" not in page] == [], name


def test_the_table_of_inputs_holds_the_inputs_and_nothing_else(schemas):
    for name, schema in schemas.items():
        rows = re.findall(r"^\| `(\w+)` \|", (PAGES / f"{name}.md").read_text("utf-8"), re.M)
        assert rows == [i.id for i in schema.inputs], name


def test_every_output_is_named(schemas):
    for name, schema in schemas.items():
        page = (PAGES / f"{name}.md").read_text("utf-8")
        assert [o for o in schema.outputs if f"**{o.display_name or o.id}**" not in page] == [], name


def test_every_quoted_error_stands_in_the_code(texts):
    for path in PAGES.glob("*.md"):
        for quoted in QUOTED_ERROR.findall(path.read_text("utf-8")):
            for piece in filter(None, re.split(r"\s*\.\.\.\s*", " ".join(quoted.split()))):
                assert any(piece in text for text in texts), (path.name, piece)
