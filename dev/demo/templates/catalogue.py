"""The workflows of example_workflows/. Their files are the source: edit them in ComfyUI, then tidy them."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...tasks import paths
from ...tasks.server import ComfyServer
from . import layout
from .convert import NOTES, Document
from .definitions import Definitions

FOLDER = paths.ROOT / "example_workflows"
# The last view of the page and its version, which would change with every save.
VIEW = ("ds", "frontendVersion", "workflowRendererVersion", "linkExtensions", "reroutes")


@dataclass(frozen=True)
class Pack:
    """The pack of a node, for the page's search for missing nodes.

    Attributes:
        cnr_id: Name in the registry.
        ver: Version.
    """

    cnr_id: str
    ver: str


# The ComfyUI whose nodes the workflows were made with.
CORE = Pack("comfy-core", "0.30.0")


@dataclass(frozen=True)
class Template:
    """A workflow.

    Attributes:
        name: Of its file, which the page shows as its title.
    """

    name: str

    def path(self) -> Path:
        """Return its file."""
        return FOLDER / f"{self.name}.json"

    def thumbnail(self) -> Path:
        """Return the path of its thumbnail."""
        return FOLDER / f"{self.name}.jpg"

    def load(self) -> Document:
        """Return the content of its file."""
        document: Document = json.loads(self.path().read_text(encoding="utf-8"))
        return document


TEMPLATES = tuple(Template(path.stem) for path in sorted(FOLDER.glob("*.json")))


def definitions(server: ComfyServer) -> Definitions:
    """Return the nodes of a running server."""
    return Definitions(server.get("/object_info"))


def tidied(document: Document, known: Definitions, name: str, sizes: layout.Table) -> str:
    """Return the normalised text of a workflow's file.

    ComfyUI's page does not write which pack a node comes from, and writes the state of the view.

    Args:
        document: The workflow.
        known: The nodes of a server.
        name: Name of the workflow.
        sizes: Measured sizes of nodes.
    """
    layout.arrange(document, sizes, name)
    ours = our_pack()
    for node in document["nodes"]:
        if node["type"] not in NOTES:
            pack = CORE if known[node["type"]].is_core else ours
            node["properties"] = {**_stamp(pack), **_others(node["properties"], _stamp(pack))}
    document["extra"] = _others(document.get("extra", {}), VIEW)
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _stamp(pack: Pack) -> dict[str, str]:
    return {"cnr_id": pack.cnr_id, "ver": pack.ver}


def _others(values: Mapping[str, Any], left_out: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in left_out}


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
