"""A workflow saved by the last release opens in this version: each value in its widget, each link in its socket."""

import json

import pytest

from steadydancer_pack.tests import saved_widgets

PINNED = json.loads(saved_widgets.PINNED.read_text("utf-8"))


@pytest.fixture(scope="module")
def now():
    return saved_widgets.saved_by_nodes()


def test_no_node_went_and_none_is_unpinned(now):
    assert sorted(now) == sorted(PINNED), "Pin new nodes with tests/pin_saved_widgets.py."


@pytest.mark.parametrize("node", PINNED)
def test_a_value_keeps_its_widget(now, node):
    """New widgets may only follow: a value is found by its position."""
    pinned = PINNED[node]["widgets"]
    assert now[node]["widgets"][: len(pinned)] == pinned


@pytest.mark.parametrize("node", PINNED)
def test_a_choice_can_still_be_chosen(now, node):
    lost = {name: set(choices) - set(now[node]["choices"][name]) for name, choices in PINNED[node]["choices"].items()}
    assert not any(lost.values()), lost
    for name, choices in PINNED[node]["choices"].items():
        for choice, pinned in choices.items() if isinstance(choices, dict) else ():
            assert now[node]["choices"][name][choice][: len(pinned)] == pinned, (name, choice)


@pytest.mark.parametrize("node", PINNED)
def test_a_link_keeps_its_ends(now, node):
    sockets, outputs = PINNED[node]["sockets"], PINNED[node]["outputs"]
    assert all(kind in now[node]["sockets"].get(name, "").split(",") for name, kind in sockets.items())
    assert now[node]["outputs"][: len(outputs)] == outputs
