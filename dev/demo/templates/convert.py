"""Turn a workflow file into the prompt that ComfyUI's page would queue for it."""

from collections.abc import Iterator
from typing import Any

from ...tasks.client import Workflow
from .definitions import MISSING, Definition, Definitions, boxes

NOTES = ("Note", "MarkdownNote")
MUTED, BYPASSED = 2, 4
Document = dict[str, Any]
Link = tuple[int, int]


def to_prompt(document: Document, definitions: Definitions) -> Workflow:
    """Convert a workflow.

    Muted nodes and notes are left out; bypassed nodes pass their inputs through.

    Args:
        document: A workflow file of version 0.4, without subgraphs.
        definitions: The server's nodes: the file has values without names, in the order of the inputs.

    Returns:
        The workflow in API format.
    """
    nodes = {node["id"]: node for node in document["nodes"]}
    sources = {link[0]: (link[1], link[2]) for link in document["links"]}
    prompt: Workflow = {}
    for node in sorted(nodes.values(), key=lambda one: int(one["order"])):
        if node["type"] in NOTES or node["mode"] in (MUTED, BYPASSED):
            continue
        definition = definitions[node["type"]]
        inputs = widget_values(node, definition)
        for slot in node["inputs"]:
            if slot["link"] is not None:
                source = through_bypasses(sources[slot["link"]], nodes, sources)
                inputs.pop(slot["name"], None)
                if source is not None:
                    inputs[slot["name"]] = [str(source[0]), source[1]]
        title = node.get("title", definition.title)
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": inputs, "_meta": {"title": title}}
    return prompt


def widget_values(node: dict[str, Any], definition: Definition) -> dict[str, Any]:
    """Assign the values of a node's widgets to their names.

    Raises:
        ValueError: Their number differs from the number of widgets.
    """
    return {name: value for _, name, value in placed_values(node, definition)}


def placed_values(node: dict[str, Any], definition: Definition) -> list[tuple[int, str, Any]]:
    """Return index, name and value of each of a node's widgets.

    Raises:
        ValueError: Their number differs from the number of widgets.
    """
    values: list[Any] = list(node.get("widgets_values", ()))
    left = iter(values)
    found: list[tuple[int, str, Any]] = []
    place = uploads = 0
    for one, value in boxes(definition, lambda _: next(left, MISSING)):
        found.append((place, one.name, value))
        if one.has_control:
            next(left, MISSING)
        place += 1 + one.has_control
        uploads += one.has_upload
    spare = len(list(left)) - uploads
    if spare or any(value is MISSING for _, _, value in found):
        where = f"node {node['id']} ({node['type']})"
        names = [name for _, name, _ in found]
        raise ValueError(f"{where}: got {len(values)} values; expected one for each of {names}. Build it again.")
    return found


def through_bypasses(source: Link, nodes: dict[int, Any], sources: dict[int, Link]) -> Link | None:
    """Follow a link backwards through bypassed nodes.

    A bypassed node passes on the input at the output's index if the types agree, else its first input of that type.

    Returns:
        The node and output that the value comes from; None if there is none.
    """
    node = nodes[source[0]]
    if node["mode"] == MUTED:
        return None
    if node["mode"] != BYPASSED:
        return source
    kind = node["outputs"][source[1]]["type"]
    for slot in _beside_first(node["inputs"], source[1]):
        if slot["type"] == kind:
            return None if slot["link"] is None else through_bypasses(sources[slot["link"]], nodes, sources)
    return None


def _beside_first(inputs: list[dict[str, Any]], place: int) -> Iterator[dict[str, Any]]:
    yield from inputs[place : place + 1]
    yield from inputs
