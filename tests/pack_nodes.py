"""The pack's nodes as ComfyUI gets them, without a server."""

import asyncio

from steadydancer_pack.nodes import SteadyDancerExtension


def pack_nodes() -> list[type]:
    """Load the extension as ComfyUI does, its folders too, and return the classes of its nodes."""
    return asyncio.run(_load())


async def _load() -> list[type]:
    extension = SteadyDancerExtension()
    await extension.on_load()
    return await extension.get_node_list()
