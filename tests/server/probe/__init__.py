"""A custom node pack that reports the pack's live objects in the server, and bounds its caches."""

from __future__ import annotations

import gc

from aiohttp import web
from comfy_execution.caching import LRUCache
from server import PromptServer

NODE_CLASS_MAPPINGS: dict[str, type] = {}
KINDS = ("T2IAdapter", "FeatureCache", "ResidualComputer", "SamplingState", "AdapterFeatures")


def alive() -> dict[str, list[object]]:
    """Return the pack's living objects by class, in one pass over everything that lives."""
    found: dict[str, list[object]] = {kind: [] for kind in KINDS}
    for one in gc.get_objects():
        if type(one).__name__ in found and "T2I-Adapter" in type(one).__module__:
            found[type(one).__name__].append(one)
    return found


@PromptServer.instance.routes.get("/probe")
async def tell(request: web.Request) -> web.Response:
    """Return the number of living objects by class, and the bytes in each cache of features."""
    found = alive()
    counts = {kind: len(objects) for kind, objects in found.items()}
    return web.json_response({"alive": counts, "caches": [cache.nbytes for cache in found["FeatureCache"]]})


@PromptServer.instance.routes.get("/probe/collected")
async def tell_collected(request: web.Request) -> web.Response:
    """Return the same after a collection: what is held, not what waits for the collector."""
    gc.collect()
    return await tell(request)


@PromptServer.instance.routes.post("/probe/comfyui-only")
async def drop_what_comfyui_keeps(request: web.Request) -> web.Response:
    """Drop what ComfyUI itself never drops: its history, and the times of use of nodes whose results it does not have.

    A node of a cancelled prompt is noted as used, by a key that describes all nodes before it, and
    `LRUCache.clean_unused` drops notes of cached results alone: 30 kB a prompt.
    """
    PromptServer.instance.prompt_queue.wipe_history()
    for cache in (one for one in gc.get_objects() if isinstance(one, LRUCache)):
        for key in cache.used_generation.keys() - cache.cache.keys():
            cache.used_generation.pop(key, None)
    return web.json_response({})


@PromptServer.instance.routes.get("/probe/bound/{size}")
async def bound(request: web.Request) -> web.Response:
    """Bound every cache of features, from its next entry on."""
    caches = alive()["FeatureCache"]
    for cache in caches:
        cache.max_bytes = int(request.match_info["size"])
    return web.json_response({"caches": len(caches)})
