"""Longshore's nodes for ComfyUI: models that workflows share, preloaded and never copied without need."""
WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    """Called by ComfyUI; what needs ComfyUI is imported here, so that the package can be looked at without it."""
    from .extension import LongshoreExtension

    return LongshoreExtension()
