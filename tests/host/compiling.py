"""Compiled UNets, and how often Dynamo compiles.

The backend is ``eager``: Dynamo traces and guards as for any other, and its graphs run as they are.
"""

from __future__ import annotations

from typing import Any

import torch

from . import tiny

LATENT, PIXELS = (8, 16), (64, 128)


class Compiler:
    """Counts the graphs that Dynamo passes to its backend, starting at zero; create it before a model runs."""

    def __init__(self) -> None:
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        self.graphs = 0

    def __call__(self, graph: torch.fx.GraphModule, _: Any) -> Any:
        self.graphs += 1
        return graph.forward

    def breaks(self) -> int:
        return sum(torch._dynamo.utils.counters["graph_break"].values())


def lean_model() -> Any:
    """A MODEL with SDXL's places, which Dynamo traces in a third of the time of a whole one."""
    return tiny.model("SDXL", transformer_depth=[0, 0, 0, 0, 1, 0])


def compiled(model: Any, compiler: Compiler) -> Any:
    """Do what the node TorchCompileModel does, with a backend that counts."""
    from comfy_api.torch_helpers import set_torch_compile_wrapper
    from comfy_extras.nodes_torch_compile import skip_torch_compile_dict

    clone = model.clone(disable_dynamic=True)
    set_torch_compile_wrapper(model=clone, backend=compiler, options={"guard_filter_fn": skip_torch_compile_dict})
    return clone


def run(model: Any, **values: Any) -> torch.Tensor:
    """Three steps of the tiny model, with ``count`` pictures."""
    return tiny.sample(model, tiny.latent(*LATENT, values.pop("count", 1)), **{"steps": 3, **values})
