"""T2I-Adapter for ComfyUI: sketches, depth maps, poses and palettes that pictures obey."""

WEB_DIRECTORY = "./web"  # help pages, and one small script that keeps texts on nodes


async def comfy_entrypoint():  # noqa: ANN201 - the type belongs to ComfyUI, which tools import this file without
    """Return the extension; ComfyUI calls this once when it starts."""
    from .nodes import T2IAdapterExtension

    return T2IAdapterExtension()
