"""Write locales/en from the nodes' own texts: `python dev/tasks/launch.py dev.tasks.locales`.

The other languages are translated by hand. The command prints which English texts have changed since it last ran, and
which texts of the other languages are missing or left over.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from . import paths

FOLDER = paths.ROOT / "locales"
ENGLISH = "en"
TRANSLATED = ("zh", "ja", "ko")
# Files that ComfyUI merges into its own texts.
NODES_FILE, MAIN_FILE = "nodeDefs.json", "main.json"
# Category names that ComfyUI translates itself: ours would replace its translation.
KNOWN_CATEGORIES = ("training",)
Texts = Mapping[str, Any]


def english(nodes: Iterable[Any]) -> dict[str, dict[str, Any]]:
    """Return the texts of nodes in the format of ComfyUI's locale files.

    Args:
        nodes: Classes of nodes.

    Returns:
        Content by file name: names, descriptions and tooltips by node, and the parts of their categories.
    """
    schemas = [node.GET_SCHEMA() for node in nodes]
    parts = dict.fromkeys(part for schema in schemas for part in schema.category.split("/"))
    return {
        NODES_FILE: {schema.node_id: _node(schema) for schema in schemas},
        MAIN_FILE: {"nodeCategories": {part: part for part in parts if part not in KNOWN_CATEGORIES}},
    }


def _node(schema: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "display_name": schema.display_name,
        "description": schema.description,
        "inputs": {key: _slot(one) for key, one in _inputs(schema.inputs)},
    }
    if schema.outputs:
        found["outputs"] = {str(number): _slot(one) for number, one in enumerate(schema.outputs)}
    return found


def _inputs(inputs: Iterable[Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield inputs, including those of dynamic combo options, under the page's keys."""
    for one in inputs:
        yield above + one.id, one
        for option in getattr(one, "options", None) or ():
            # The page puts an underscore where the input's id has a dot.
            yield from _inputs(getattr(option, "inputs", ()), f"{above}{one.id}_")


def _slot(one: Any) -> dict[str, str]:
    return {"name": one.display_name or one.id, "tooltip": one.tooltip}


def load(language: str) -> dict[str, dict[str, Any]]:
    """Return the files of a language by name; a missing file gives an empty dict."""
    return {name: _read(FOLDER / language / name) for name in (NODES_FILE, MAIN_FILE)}


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def leaves(texts: Texts, above: str = "") -> dict[str, str]:
    """Return every text by the path of its keys: ``nodeDefs.json/LoadT2IAdapter/display_name``."""
    found: dict[str, str] = {}
    for key, value in texts.items():
        path = f"{above}{key}"
        found.update(leaves(value, f"{path}/") if isinstance(value, Mapping) else {path: value})
    return found


def differences(wanted: Texts, got: Texts) -> list[str]:
    """List the texts that are missing or left over."""
    ours, theirs = leaves(wanted), leaves(got)
    lines = [f"{path}: missing" for path in ours if path not in theirs]
    return lines + [f"{path}: left over" for path in theirs if path not in ours]


def main(arguments: list[str]) -> int:
    """Write the English texts; return 1 if a translation must be updated."""
    from ..miniature.host import use_comfyui

    use_comfyui()
    from ...nodes import NODES

    before, now = load(ENGLISH), english(NODES)
    old = leaves(before)
    for name, texts in now.items():
        path = FOLDER / ENGLISH / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(texts, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    changed = [f"{path}: was '{old[path]}'" for path, text in leaves(now).items() if old.get(path, text) != text]
    lacking = [f"{language}/{line}" for language in TRANSLATED for line in differences(now, load(language))]
    for line in (*(f"translate again: {line}" for line in changed), *lacking):
        print(line)
    return 1 if changed or lacking else 0
