"""A custom node pack that tells how many of the pack's objects are alive in the server, and bounds its caches."""

from __future__ import annotations

import gc

from aiohttp import web
from server import PromptServer

NODE_CLASS_MAPPINGS: dict[str, type] = {}
KINDS = ("T2IAdapter", "FeatureCache", "StackRun", "Run", "AdapterFeatures")


def alive(kind: str) -> list[object]:
    """Return the pack's living objects of a class."""
    return [
        found for found in gc.get_objects() if type(found).__name__ == kind and "T2I-Adapter" in type(found).__module__
    ]


@PromptServer.instance.routes.get("/probe")
async def tell(request: web.Request) -> web.Response:
    """Return the number of living objects by class, and the bytes in each cache of features."""
    gc.collect()
    counts = {kind: len(alive(kind)) for kind in KINDS}
    return web.json_response({"alive": counts, "caches": [cache.nbytes for cache in alive("FeatureCache")]})


@PromptServer.instance.routes.get("/probe/bound/{size}")
async def bound(request: web.Request) -> web.Response:
    """Bound every cache of features, from its next entry on."""
    caches = alive("FeatureCache")
    for cache in caches:
        cache.max_bytes = int(request.match_info["size"])
    return web.json_response({"caches": len(caches)})
