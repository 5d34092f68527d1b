"""A short campaign of strange widget values; tests/fuzz/widgets.py runs the long ones."""

import pytest

from steadydancer_pack.miniature import write_all
from steadydancer_pack.tests.fuzz import widgets
from steadydancer_pack.tests.prompts import run, small_prompt

COUNT, SECONDS = 20, 3.0


@pytest.fixture(scope="module")
def prompt(server):
    write_all(server.base / "models", server.base / "input")
    return small_prompt(server.client.object_info())


def test_strange_values_are_rejected_refused_or_run(server, prompt):
    counts, faults = widgets.run(server, [prompt], COUNT, longest=SECONDS)
    assert faults == []
    assert counts.total() == COUNT and counts["rejected"] and counts["finished"]
    run(server, prompt)
