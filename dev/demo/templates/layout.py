"""Place the nodes and groups of a workflow by the sizes that both renderers give them.

The file decides what belongs together: a node belongs to the group that its position lies in, groups with one left edge
form a column, and the note, which is in no group, begins the first column. `sizes.json` has the sizes.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from .convert import NOTES, Document

TABLE = Path(__file__).absolute().parent / "sizes.json"
# In the page's units. The title bar lies above a node's position; classic badges lie above the title bar.
TITLE, BADGE = 30, 20
HEADER, PADDING, BETWEEN = 24, 12, 24
# Nodes with a text or a picture keep the height that the file gives them; others get that of their content.
STRETCHED = ("CLIPTextEncode", "LoadImage", "LoadVideo", "LossGraphNode", "Painter", "PreviewImage", "SaveImage",
             "SaveVideo")  # fmt: skip
# Height to measure the others with; each renderer enlarges it.
FLAT = 10
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Size:
    """A row of the table.

    Attributes:
        template: Name of the workflow.
        node: Id of the node.
        type: Its type, for readers.
        classic: Height under the title bar in the classic renderer.
        vue: The same in Nodes 2.0.
    """

    template: str
    node: int
    type: str
    classic: int
    vue: int

    @property
    def height(self) -> int:
        """Return the height that suffices in both renderers."""
        return max(self.classic, self.vue)


Table = dict[tuple[str, int], Size]


def load() -> Table:
    """Return the measured sizes by template and node."""
    return {(row["template"], row["node"]): Size(**row) for row in json.loads(TABLE.read_text(encoding="utf-8"))}


def save(table: Iterable[Size]) -> None:
    """Write the table, one row per line."""
    rows = [json.dumps(vars(row)) for row in table]
    TABLE.write_text("[\n" + ",\n".join(rows) + "\n]\n", encoding="utf-8")


def arrange(document: Document, sizes: Table, name: str) -> None:
    """Move nodes and groups of a workflow, and give nodes their heights.

    Args:
        document: The workflow; modified.
        sizes: The measured sizes. A workflow with a node that is not among them is left as it is.
        name: Name of the workflow.
    """
    if any((name, node["id"]) not in sizes for node in document["nodes"]):
        return
    heights = {node["id"]: sizes[name, node["id"]] for node in document["nodes"]}
    members = _members(document)
    left = 0
    for number, column in enumerate(_columns(document["groups"])):
        width = max(node["size"][0] for group in column for node in members[group["id"]])
        top = 0
        if not number:
            top = _stack(members[None], left, top - BADGE, width + 2 * PADDING, heights) + BETWEEN
        for group in column:
            bottom = _stack(members[group["id"]], left + PADDING, top + HEADER, width, heights) + PADDING
            group["bounding"] = [left, top, width + 2 * PADDING, bottom - top]
            top = bottom + BETWEEN
        left += width + 2 * PADDING + BETWEEN


def _stack(nodes: Sequence[dict[str, Any]], left: int, bottom: int, width: int, sizes: dict[int, Size]) -> int:
    """Place nodes under each other; return the bottom of the last."""
    for node in nodes:
        size = sizes[node["id"]]
        top = bottom + BADGE + TITLE
        height = int(node["size"][1]) if node["type"] in STRETCHED else size.classic
        if node["type"] in NOTES:
            height = size.height
        node["pos"], node["size"] = [left, top], [width, height]
        bottom = top + max(height, size.height)
    return bottom


def _members(document: Document) -> dict[int | None, list[dict[str, Any]]]:
    """Return the nodes of each group from top to bottom; under None those of no group."""
    groups = document["groups"]
    found: dict[int | None, list[dict[str, Any]]] = {None: [], **{group["id"]: [] for group in groups}}
    for node in sorted(document["nodes"], key=lambda one: (one["pos"][1], one["pos"][0])):
        home = next((group["id"] for group in groups if _holds(group["bounding"], node["pos"])), None)
        found[home].append(node)
    return found


def _holds(bounding: Box, point: Sequence[float]) -> bool:
    left, top, width, height = bounding
    return left <= point[0] < left + width and top <= point[1] < top + height


def _columns(groups: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return groups by columns, from left to right and from top to bottom; a column's groups share their left edge."""
    ordered = sorted(groups, key=lambda group: (group["bounding"][0], group["bounding"][1]))
    return [list(column) for _, column in groupby(ordered, key=lambda group: group["bounding"][0])]
