"""Workflows for the browser tests, derived from the demo's."""

from __future__ import annotations

import copy
from typing import Any

from t2i_adapter_pack.dev.demo import workflows

STEPS = 3
LEVELS = {"preset.level_1": 0.1, "preset.level_2": 0.2, "preset.level_3": 0.3, "preset.level_4": 0.4}
CUSTOM = {"preset": "custom", **LEVELS, "positive": 0.5, "negative": 0.6}


def drawing(*, adapter: bool = True, weights: dict[str, Any] | None = None, **adapter_values: Any) -> dict[str, Any]:
    """A picture of a few steps, in the API's format.

    Args:
        adapter: with the sketch adapter.
        weights: inputs of a node T2I-Adapter Level Weights between, or None for no such node.
        adapter_values: inputs of Load T2I-Adapter.
    """
    workflow = copy.deepcopy(workflows.load(workflows.WITH if adapter else workflows.WITHOUT))
    values = {("Sampler", "steps"): STEPS, **{("Adapter", name): value for name, value in adapter_values.items()}}
    workflow = workflows.put(workflow, values)
    if weights is not None:
        workflow["weights"] = {"class_type": "T2IAdapterWeights", "inputs": weights, "_meta": {"title": "Weights"}}
        (apply,) = (node for node in workflow.values() if node["class_type"] == "ApplyT2IAdapter")
        apply["inputs"]["weights"] = ["weights", 0]
    return workflow
