"""The pack's nodes as ComfyUI gets them, without a server."""

import asyncio

from comfy_api.latest import io

from steadydancer_pack.nodes import SteadyDancerExtension


def pack_nodes() -> list[type]:
    """Load the extension as ComfyUI does, its folders too, and return the classes of its nodes."""
    return asyncio.run(_load())


def all_inputs(schema) -> list[tuple[str, object]]:
    """Return the inputs of a schema with their ids, those of a choice after it as choice.input, each once."""
    found = {}
    for given in schema.inputs:
        found[given.id] = given
        for option in getattr(given, "options", None) or () if isinstance(given, io.DynamicCombo.Input) else ():
            found |= {f"{given.id}.{nested.id}": nested for nested in option.inputs}
    return list(found.items())


async def _load() -> list[type]:
    extension = SteadyDancerExtension()
    await extension.on_load()
    return await extension.get_node_list()
