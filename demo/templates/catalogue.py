"""All workflows of example_workflows/, and how their files are written."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...tasks import paths
from ...tasks.server import ComfyServer
from . import conditions, places, teaching, together
from .canvas import Canvas, Pack
from .convert import Document
from .definitions import Definitions

FOLDER = paths.ROOT / "example_workflows"
# The ComfyUI whose nodes they were made with.
CORE = Pack("comfy-core", "0.30.0")


@dataclass(frozen=True)
class Template:
    """A workflow.

    Attributes:
        name: Of its file, which the page shows as its title.
        build: Lays it out.
    """

    name: str
    build: Callable[[Canvas], None]

    def path(self) -> Path:
        """Return its file."""
        return FOLDER / f"{self.name}.json"

    def thumbnail(self) -> Path:
        """Return its picture in the browser of templates."""
        return FOLDER / f"{self.name}.jpg"

    def load(self) -> Document:
        """Return what is in its file."""
        document: Document = json.loads(self.path().read_text(encoding="utf-8"))
        return document


TEMPLATES = (
    Template("Sketch", conditions.sketch),
    Template("Canny edges", conditions.canny),
    Template("Depth", conditions.depth),
    Template("Colour palette", conditions.colour),
    Template("Segmentation painted by hand", conditions.segmentation),
    Template("Pose", conditions.pose),
    Template("Line art with SDXL", conditions.lineart),
    Template("Style of a picture", together.style),
    Template("Two adapters together", together.two),
    Template("CoAdapter", together.coadapter),
    Template("A prompt for each region", places.regions),
    Template("Schedule and level weights", places.schedule),
    Template("Inpainting", places.inpainting),
    Template("Video frames", places.frames),
    Template("Train your own adapter", teaching.training),
)


def definitions(server: ComfyServer) -> Definitions:
    """Return the nodes of a running server."""
    return Definitions(server.get("/object_info"))


def build(template: Template, known: Definitions) -> str:
    """Return what a workflow's file holds.

    Args:
        template: The workflow.
        known: The nodes of a server.
    """
    canvas = Canvas(known, CORE, our_pack())
    template.build(canvas)
    return json.dumps(canvas.document(template.name), indent=1, ensure_ascii=False) + "\n"


def our_pack() -> Pack:
    """Return name and version of this pack, as pyproject.toml has them."""
    text = (paths.ROOT / "pyproject.toml").read_text(encoding="utf-8")
    name, version = (_field(text, key) for key in ("name", "version"))
    return Pack(name, version)


def _field(text: str, key: str) -> str:
    found = re.search(rf'^{key} = "(.*)"$', text, re.MULTILINE)
    if found is None:
        raise ValueError(f"pyproject.toml: got no {key}; expected one in [project].")
    return found[1]
