"""The nodes of SteadyDancer, one file per stage of the road from photo to video."""

from comfy_api.latest import ComfyExtension, io


class SteadyDancerExtension(ComfyExtension):
    """The only list of nodes."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return []
