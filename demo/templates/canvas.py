"""Lay a workflow out as ComfyUI's page saves it: columns from left to right, each a titled group of nodes."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .convert import BYPASSED, Document
from .definitions import Definition, Definitions, Input, boxes

# In the page's units. A node's position is below its title bar.
TITLE_BAR = 30
SLOT_ROW, BOX_ROW, BOX_MARGIN, FOOT = 20, 24, 8, 6
LINES = 120
WIDTH, WIDE = 315, 400
GAP, COLUMN_GAP, GROUP_MARGIN, GROUP_HEAD = 40, 80, 20, 50
# Boxes that sockets of a type bring with them.
SOCKET_BOXES: Mapping[str, int] = {"BOUNDING_BOX": 5}
# What a picture, a video or a text below the boxes takes, once the workflow has run.
PICTURES: Mapping[str, int] = {
    "LoadImage": 250,
    "LoadVideo": 250,
    "SaveImage": 280,
    "PreviewImage": 230,
    "SaveVideo": 280,
    "LossGraphNode": 230,
    "SaveT2IAdapter": 80,
}
NOTE_SIZE = (420, 560)
NOTE_COLOURS = {"color": "#432", "bgcolor": "#653"}
GROUP_COLOUR = "#3f789e"


@dataclass(frozen=True)
class Pack:
    """Where a node comes from, for the page's search for missing nodes.

    Attributes:
        cnr_id: Name in the registry.
        ver: Version.
    """

    cnr_id: str
    ver: str


@dataclass(frozen=True)
class ModelFile:
    """A file that a box names.

    Attributes:
        name: As in the box.
        url: Where it can be had.
        directory: ComfyUI's key of the folder it belongs in.
    """

    name: str
    url: str
    directory: str


@dataclass(frozen=True)
class Output:
    """One output of a node on the canvas."""

    node: int
    slot: int
    type: str


@dataclass(frozen=True)
class Placed:
    """A node on the canvas."""

    number: int
    definition: Definition

    def __getitem__(self, slot: int) -> Output:
        return Output(self.number, slot, self.definition.outputs[slot][1])


@dataclass
class Column:
    """A group of nodes below each other; `title` is empty for notes."""

    title: str
    nodes: list[dict[str, Any]] = field(default_factory=list)


class Canvas:
    """A workflow that is being laid out.

    Args:
        definitions: The server's nodes.
        core: What ComfyUI's own nodes are marked with.
        ours: What the pack's nodes are marked with.
    """

    def __init__(self, definitions: Definitions, core: Pack, ours: Pack) -> None:
        self.definitions = definitions
        self.core, self.ours = core, ours
        self.columns: list[Column] = []
        self.links: list[list[Any]] = []
        self.count = 0

    def column(self, title: str) -> None:
        """Begin a column."""
        self.columns.append(Column(title))

    def note(self, text: str) -> None:
        """Put a note into a column of its own."""
        self.column("")
        node = self._node("MarkdownNote", NOTE_SIZE, {"title": "What to do", "widgets_values": [text], **NOTE_COLOURS})
        self.columns[-1].nodes.append(node)

    def add(
        self,
        class_type: str,
        title: str = "",
        *,
        models: Sequence[ModelFile] = (),
        bypassed: bool = False,
        **inputs: Any,
    ) -> Placed:
        """Put a node below the last one.

        Args:
            class_type: Its id.
            title: Its title, if another than its name.
            models: The files that its boxes name.
            bypassed: Whether its input goes around it.
            inputs: Outputs of other nodes, and values other than the defaults.
        """
        definition = self.definitions[class_type]
        chosen = {name: value for name, value in inputs.items() if not isinstance(value, Output)}
        shown = list(boxes(definition, lambda one: chosen.get(one.name, one.default)))
        if unknown := set(inputs) - {one.name for one in (*definition.inputs, *(one for one, _ in shown))}:
            raise KeyError(f"{class_type}: got inputs {sorted(unknown)}; expected some of its own.")
        pack = self.core if definition.is_core else self.ours
        properties: dict[str, Any] = {"cnr_id": pack.cnr_id, "ver": pack.ver, "Node name for S&R": class_type}
        if models:
            properties["models"] = [vars(one) for one in models]
        more = {"title": title} if title else {}
        node = self._node(
            class_type, size_of(definition, [one for one, _ in shown]), {**more, "properties": properties}
        )
        node["mode"] = BYPASSED if bypassed else 0
        node["widgets_values"] = saved_values(shown)
        node["inputs"] = self._slots(node["id"], definition, inputs)
        node["outputs"] = [{"name": name, "type": kind, "links": None} for name, kind in definition.outputs]
        self.columns[-1].nodes.append(node)
        return Placed(node["id"], definition)

    def _node(self, class_type: str, size: tuple[int, int], more: dict[str, Any]) -> dict[str, Any]:
        self.count += 1
        empty = {"flags": {}, "order": self.count - 1, "mode": 0, "inputs": [], "outputs": [], "properties": {}}
        return {"id": self.count, "type": class_type, "pos": [0, 0], "size": list(size), **empty, **more}

    def _slots(self, number: int, definition: Definition, inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the sockets first and then the boxes, which can be connected too, as the page does."""
        slots: list[dict[str, Any]] = []
        for one in sorted(definition.inputs, key=lambda one: one.is_widget):
            source = inputs.get(one.name)
            slot: dict[str, Any] = {"name": one.name, "type": one.type, "link": None}
            if one.is_widget:
                slot["widget"] = {"name": one.name}
            if isinstance(source, Output):
                slot["link"] = len(self.links) + 1
                self.links.append([slot["link"], source.node, source.slot, number, len(slots), source.type])
            slots.append(slot)
        return slots

    def document(self, name: str) -> Document:
        """Return the finished file.

        Args:
            name: The workflow's; its id follows from it.
        """
        groups = self._arrange()
        nodes = sorted((node for column in self.columns for node in column.nodes), key=lambda node: int(node["id"]))
        for link in self.links:
            output = nodes[link[1] - 1]["outputs"][link[2]]
            output["links"] = [*(output["links"] or ()), link[0]]
        return {
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.ours.cnr_id}/{name}")),
            "revision": 0,
            "last_node_id": self.count,
            "last_link_id": len(self.links),
            "nodes": nodes,
            "links": self.links,
            "groups": groups,
            "config": {},
            "extra": {},
            "version": 0.4,
        }

    def _arrange(self) -> list[dict[str, Any]]:
        """Give every node its place; return the groups around the columns."""
        groups: list[dict[str, Any]] = []
        left = 0
        for column in self.columns:
            width, top = max(node["size"][0] for node in column.nodes), 0
            for node in column.nodes:
                node["size"][0] = width
                node["pos"] = [left, top]
                top += node["size"][1] + TITLE_BAR + GAP
            head = TITLE_BAR + GROUP_HEAD
            if column.title:
                bounding = [left - GROUP_MARGIN, -head, width + 2 * GROUP_MARGIN]
                bounding.append(head + top - TITLE_BAR - GAP + GROUP_MARGIN)
                about = {"id": len(groups) + 1, "title": column.title, "bounding": bounding, "color": GROUP_COLOUR}
                groups.append({**about, "font_size": 24, "flags": {}})
            left += width + COLUMN_GAP
        return groups


def saved_values(shown: Sequence[tuple[Input, Any]]) -> list[Any]:
    """Return a node's values as files have them: with what follows seeds, and upload buttons last."""
    values: list[Any] = []
    for one, value in shown:
        values.append(value)
        if one.has_control:
            values.append("randomize")
    return values + ["image" for one, _ in shown if one.has_upload]


def size_of(definition: Definition, shown: Sequence[Input]) -> tuple[int, int]:
    """Return the size that a node with these boxes needs."""
    rows = max(len(definition.inputs) - len(shown), len(definition.outputs))
    lines = [one for one in shown if one.options.get("multiline")]
    count = sum(1 + one.has_control + one.has_upload for one in shown) - len(lines)
    count += sum(SOCKET_BOXES.get(one.type, 0) for one in definition.inputs)
    height = rows * SLOT_ROW + count * BOX_ROW + (BOX_MARGIN if shown else 0) + FOOT
    height += len(lines) * LINES + PICTURES.get(definition.class_type, 0)
    return WIDE if lines else WIDTH, height
