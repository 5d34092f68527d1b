import inspect

import pytest

from steadydancer_pack.tests.pack_nodes import pack_nodes


@pytest.fixture(scope="module")
def nodes():
    return pack_nodes()


def test_every_node_has_a_valid_schema_of_its_own(nodes):
    ids = [node.GET_SCHEMA().node_id for node in nodes]
    assert len(ids) == len(set(ids)) >= 12
    assert all(node_id.startswith("SteadyDancer") for node_id in ids)


def test_every_node_its_inputs_and_its_outputs_are_described(nodes):
    for schema in (node.GET_SCHEMA() for node in nodes):
        assert schema.description and schema.search_aliases and schema.category.startswith("SteadyDancer/"), schema
        assert all(part.tooltip for part in [*schema.inputs, *schema.outputs]), schema.node_id


def test_defaults_can_be_typed(nodes):
    """The frontend rounds what is typed to min plus whole steps; a default off that grid could not come back."""
    for node in nodes:
        for widget in node.GET_SCHEMA().inputs:
            if widget.io_type == "INT":
                assert (widget.default - widget.min) % (widget.step or 1) == 0, (node.GET_SCHEMA().node_id, widget.id)


def test_required_inputs_reach_execute_by_name(nodes):
    for node in nodes:
        names = {i.id for i in node.GET_SCHEMA().inputs}
        code = node.execute.__func__.__code__
        taken = set(code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount])
        rest = names if code.co_flags & inspect.CO_VARKEYWORDS else taken
        assert taken <= names <= rest, node.GET_SCHEMA().node_id
