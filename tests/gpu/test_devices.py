"""Two devices: two GPUs if available; on the CPU ``cpu`` and ``cpu:0``, which ComfyUI treats as different."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch

from ..host import tiny

pytestmark = [pytest.mark.host, pytest.mark.devices, pytest.mark.needs("split over devices")]
LATENT, PIXELS = (8, 16), (64, 128)


@pytest.fixture
def two(inside_comfyui: Any, monkeypatch: Any) -> list[torch.device]:
    """The devices that ComfyUI's node spreads a MODEL over."""
    import comfy.model_management as management

    if not torch.cuda.is_available():
        devices = [torch.device("cpu"), torch.device("cpu", 0)]
        monkeypatch.setattr(management, "get_all_torch_devices", lambda exclude_current=False: devices)
    management.unload_all_models()  # the node trips over models that are gone and still listed
    return list(management.get_all_torch_devices())[:2]


def spread(kind: str) -> Any:
    """A MODEL split between the devices, as ComfyUI's node does it, and the same on one."""
    from comfy_extras.nodes_multigpu import MultiGPUCFGSplitNode

    model = tiny.model(kind)
    model.cached_patcher_init = (tiny.model, (kind,))  # as its own loaders leave it, to make the model again
    return MultiGPUCFGSplitNode.execute(model, 2)[0], model


@pytest.mark.parametrize("kind", ["SD", "SDXL"])
def test_two_devices_make_the_picture_of_one(two, monkeypatch, kind):
    import comfy.model_base

    threads: set[int] = set()
    where: set[str] = set()
    original = comfy.model_base.BaseModel._apply_model

    def spy(self: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        threads.add(threading.get_ident())
        where.add(str(x.device))
        return original(self, x, *args, **kwargs)

    adapter, image, latent = tiny.adapter(tiny.adapter_config(kind)), tiny.hint(*PIXELS), tiny.latent(*LATENT)
    both, model = spread(kind)
    expected = tiny.sample(tiny.apply(model, adapter, image), latent)
    count = tiny.Count(adapter.network)
    monkeypatch.setattr(comfy.model_base.BaseModel, "_apply_model", spy)
    result = tiny.sample(tiny.apply(both, adapter, image), latent)
    torch.testing.assert_close(result, expected, **tiny.CLOSE)
    assert len(threads) == 2
    assert len(where) == (2 if torch.cuda.is_available() else 1)
    assert count.calls == 0
