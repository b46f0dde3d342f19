"""Measure the workflows' nodes in both renderers: as a newcomer opens them without any file, and after a run."""

import io
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from ...tasks.server import ComfyServer
from . import page
from .catalogue import TEMPLATES
from .layout import Size

# By template and node: what nodes reported after a run.
Outputs = Mapping[str, Mapping[str, Any]]
# By renderer, template and node.
Heights = Mapping[str, Mapping[tuple[str, int], int]]
PICTURES = {"LoadImage": "image", "LoadVideo": "file"}


def measured(server: ComfyServer, chromium: Path, outputs: Outputs | None = None) -> Heights:
    """Return the heights of all nodes, by renderer, template and node.

    Args:
        server: A server.
        chromium: The browser.
        outputs: What the nodes show; None for workflows that were never run.
    """
    found: dict[str, dict[tuple[str, int], int]] = defaultdict(dict)
    for renderer in page.RENDERERS:
        with page.opened(server.url, renderer, chromium) as opened:
            for template in TEMPLATES:
                shown = (outputs or {}).get(template.name, {})
                heights = page.heights(opened, template.name, template.load(), shown)
                found[renderer].update({(template.name, node): height for node, height in heights.items()})
    return found


def rows(*measures: Heights) -> list[Size]:
    """Return the table's rows: the largest of some measures, in the order of the files."""
    made = []
    for template in TEMPLATES:
        for node in template.load()["nodes"]:
            place = (template.name, node["id"])
            largest = {renderer: max(one[renderer][place] for one in measures) for renderer in page.RENDERERS}
            made.append(Size(template.name, node["id"], node["type"], largest["classic"], largest["vue"]))
    return made


def put_files(server: ComfyServer) -> None:
    """Write a file for each name in the workflows: pictures that can be shown, and empty models."""
    example = io.BytesIO()
    Image.new("RGB", (512, 512), "gray").save(example, "PNG")
    for template in TEMPLATES:
        for node in template.load()["nodes"]:
            for model in node["properties"].get("models", ()):
                _put(server.base / "models" / model["directory"] / model["name"], b"")
            if node["type"] in PICTURES:
                _put(server.base / "input" / str(node["widgets_values"][0]), example.getvalue())


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(data)
