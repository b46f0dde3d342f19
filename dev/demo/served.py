"""What `demo -- --serve` opens: the template "Draw it here" with the miniature's files, and a drawing to start from."""

import json
import shutil
from pathlib import Path

from ..tasks import paths
from . import cases
from .templates import inputs, twins
from .templates.convert import NOTES, Document
from .templates.definitions import Definitions

# The page opens templates by addresses without spaces only.
NAME = "Draw_with_the_miniature"
FOLDER = paths.ROOT / "dev" / "miniature" / "companion" / "example_workflows"
PATH = FOLDER / f"{NAME}.json"
TWIN = twins.TWINS[0]
CANVAS = 512
# Nodes 2.0 draws; without the first, a window with all templates covers a new user's page.
SETTINGS = {"Comfy.TutorialCompleted": True, "Comfy.VueNodes.Enabled": True}
NOTE = """Draw with the miniature, a tiny model that knows coloured shapes only.

### Do this

1. Run. The picture follows the lines of **Draw here**.
2. Press *Clear* in **Draw here**, draw other shapes, and describe them in **Prompt**: *a red circle and a blue star \
on a white background*.
3. Run again.

The templates of **ComfyUI-T2I-Adapter** do the same with real models."""


def address(url: str) -> str:
    """Return the address that opens the template.

    Args:
        url: The server's address.
    """
    return f"{url}/?template={NAME}&source={paths.COMPANION_NAME}"


def text(known: Definitions) -> str:
    """Return the content of the template's file."""
    document: Document = twins.document_of(TWIN, known)
    for node in document["nodes"]:
        if node["type"] in NOTES:
            node["widgets_values"] = [NOTE]
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def prepare(base: Path, comfyui: Path) -> None:
    """Write what the template shows, ComfyUI's own example pictures, and a new user's settings.

    Args:
        base: A base directory.
        comfyui: ComfyUI's folder.
    """
    (place,) = TWIN.files
    # As large as the canvas of the template, or the page would shrink the canvas.
    (case,) = cases.from_scenes(TWIN.scenes, CANVAS)
    (base / "input" / twins.file_name(TWIN, *place)).write_bytes(inputs.png(inputs.painted(case.sketch)))
    for picture in sorted((comfyui / "input").glob("*.png")):
        if not (base / "input" / picture.name).exists():
            shutil.copy(picture, base / "input" / picture.name)
    settings = base / "user" / "default" / "comfy.settings.json"
    if not settings.exists():
        settings.parent.mkdir(parents=True, exist_ok=True)
        settings.write_text(json.dumps(SETTINGS), encoding="utf-8")
