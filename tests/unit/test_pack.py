import asyncio

from steadydancer_pack.nodes import SteadyDancerExtension


def test_every_node_has_a_valid_schema():
    for node in asyncio.run(SteadyDancerExtension().get_node_list()):
        schema = node.GET_SCHEMA()
        assert schema.node_id.startswith("SteadyDancer")
