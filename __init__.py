"""SteadyDancer for ComfyUI: the person in a photo dances like the person in a driving video."""

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    """Return the extension that ComfyUI registers (V3 node API)."""
    from .nodes import SteadyDancerExtension

    return SteadyDancerExtension()
