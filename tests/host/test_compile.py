"""A compiled UNet follows every change of an adapter without recompilation.

ComfyUI's node has Dynamo drop the guards on ``transformer_options``: what a patch reads there is baked into the graph.
Each UNet is compiled once for all of these tests.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from . import tiny
from .compiling import PIXELS, Compiler, compiled, lean_model, run

pytestmark = [pytest.mark.host, pytest.mark.slow]


@dataclass(frozen=True)
class Compiled:
    """A MODEL as it is and with its UNet compiled, and the counter of its graphs."""

    plain: Any
    model: Any
    compiler: Compiler


@pytest.fixture(scope="module")
def once(models: dict[str, Any]) -> Iterator[dict[str, Compiled]]:
    """Each family's model, compiled by the first test that runs it; SDXL's has fewer transformers, for less time."""
    chosen = {"SD": models["SD"], "SDXL": lean_model()}
    compilers = {kind: Compiler() for kind in chosen}
    yield {kind: Compiled(each, compiled(each, compilers[kind]), compilers[kind]) for kind, each in chosen.items()}
    torch._dynamo.reset()


def weights(**values: Any) -> Any:
    from t2i_adapter_pack.nodes.weights import T2IAdapterSchedule, T2IAdapterWeights

    schedule = values.pop("schedule", None)
    made = T2IAdapterWeights.execute(**values)[0]
    return made if schedule is None else T2IAdapterSchedule.execute(*schedule, unit="sampling steps", weights=made)[0]


def changes(kind: str) -> list[tuple[Any, tuple[Any, ...], dict[str, Any]]]:
    """(adapter, image, arguments of the apply node), each different from the one before."""
    adapter, other = tiny.adapter(tiny.adapter_config(kind)), tiny.adapter(tiny.adapter_config(kind), 1)
    image = tiny.hint(*PIXELS)
    half = torch.zeros(1, *PIXELS)
    half[:, :, : PIXELS[1] // 2] = 1.0
    return [
        (adapter, image, {}),
        (adapter, image, {"strength": 0.3}),
        (adapter, image, {"start_percent": 0.3}),
        (adapter, image, {"weights": weights(schedule=(1.0, 0.0, "linear"))}),
        (adapter, image, {"weights": weights(positive=1.0, negative=0.0)}),
        (adapter, image, {"mask": half}),
        (adapter, tiny.hint(*PIXELS, seed=5), {}),
        (other, image, {}),
    ]


@pytest.mark.parametrize("kind", ["SD", "SDXL"])
@pytest.mark.parametrize("first", ["compiled", "applied"])
def test_every_change_gives_the_right_picture_from_one_graph(once, kind, first):
    """The order of the two nodes does not matter either."""
    plain, bare = once[kind].plain, once[kind].model
    for adapter, image, values in changes(kind):
        expected = run(tiny.apply(plain, adapter, image, **values))
        if first == "compiled":
            patched = tiny.apply(bare, adapter, image, **values)
        else:
            # A compile node after the adapter is run again with every change, but the UNet is the same.
            patched = tiny.apply(plain, adapter, image, **values)
            patched.wrappers = {**patched.wrappers, **{k: {**patched.wrappers.get(k, {}), **v}
                                                       for k, v in bare.wrappers.items()}}  # fmt: skip
        torch.testing.assert_close(run(patched), expected, **tiny.CLOSE)
    assert once[kind].compiler.graphs == 1
    assert once[kind].compiler.breaks() == 0


def test_a_step_of_a_compiled_unet_gets_the_same_tensors(once, monkeypatch):
    from t2i_adapter_pack.nodes.sampling import state as runs

    seen: list[list[torch.Tensor]] = []
    original = runs.SamplingState.controls

    def spy(self: Any, residuals: Any, rows: int) -> Any:
        answer = original(self, residuals, rows)
        seen.append([each for values in answer.values() for each in values if each is not None])
        return answer

    monkeypatch.setattr(runs.SamplingState, "controls", spy)
    run(tiny.apply(once["SD"].model, tiny.adapter(tiny.adapter_config()), tiny.hint(*PIXELS), strength=0.4))
    assert len(seen) == 3
    assert all(a is b for first, later in itertools.pairwise(seen) for a, b in zip(first, later, strict=True))
