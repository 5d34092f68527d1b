"""The nodes of SteadyDancer, one file per stage of the road from photo to video."""

from comfy_api.latest import ComfyExtension, io

from ..steadydancer_core import detection
from . import conditioning, model, sampling, video

STAGES = (model, conditioning, sampling, video)


class SteadyDancerExtension(ComfyExtension):
    """The only list of nodes."""

    async def on_load(self) -> None:
        detection.register()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [node for stage in STAGES for node in stage.NODES]
