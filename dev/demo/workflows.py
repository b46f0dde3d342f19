"""Read the demo's workflow files and put values into them."""

import copy
import json
from pathlib import Path
from typing import Any

from ..tasks.client import Workflow

FOLDER = Path(__file__).absolute().parent / "workflows"
WITHOUT = FOLDER / "without_adapter.json"
WITH = FOLDER / "with_adapter.json"


def load(path: Path) -> Workflow:
    """Return the workflow of a file in API format."""
    workflow: Workflow = json.loads(path.read_text(encoding="utf-8"))
    return workflow


def put(workflow: Workflow, values: dict[tuple[str, str], Any]) -> Workflow:
    """Return a copy of a workflow with some inputs changed.

    Args:
        workflow: In API format; not modified.
        values: New values by node title and input name. Titles missing from the workflow are ignored, so that one set
            of values fits the workflows without and with an adapter.

    Raises:
        KeyError: A node with that title has no such input.
    """
    result = copy.deepcopy(workflow)
    for node in result.values():
        for (title, name), value in values.items():
            if node["_meta"]["title"] != title:
                continue
            if name not in node["inputs"]:
                raise KeyError(f"workflow: got no input {name!r} in {title!r}; expected one of {list(node['inputs'])}.")
            node["inputs"][name] = value
    return result
