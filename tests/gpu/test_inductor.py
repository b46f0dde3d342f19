"""ComfyUI's node TorchCompileModel: a compiled model draws the same picture, for every adapter and strength.

Uses the default backend on a GPU. On a CPU that backend starts a C++ compiler for each kernel, which takes minutes, so
the last stage is left out there unless T2I_INDUCTOR is set, as by `run.py gpu`.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch

from ..host import tiny

pytestmark = [pytest.mark.host, pytest.mark.slow, pytest.mark.timeout(600)]
LATENT, PIXELS = (8, 8), (64, 64)


@pytest.fixture(scope="module")
def lean(inside_comfyui: Any) -> Any:
    """As few blocks as a UNet with SDXL's places can have, since each costs seconds."""
    yield tiny.model("one block", transformer_depth=[0, 0, 1])
    torch._dynamo.reset()


def backend() -> str:
    return "inductor" if torch.cuda.is_available() or os.environ.get("T2I_INDUCTOR") else "aot_eager"


def test_compiled_the_adapter_acts_alike(lean):
    from comfy_extras.nodes_torch_compile import TorchCompileModel

    config, latent = tiny.adapter_config("SDXL"), tiny.latent(*LATENT)
    adapters = [tiny.adapter(config, seed) for seed in (0, 1)]
    compiled = TorchCompileModel.execute(lean, backend())[0]
    bare = tiny.sample(lean, latent, steps=2)
    for adapter, strength in ((adapters[0], 1.0), (adapters[0], 0.5), (adapters[1], 1.0)):
        values = {"strength": strength}
        expected = tiny.sample(tiny.apply(lean, adapter, tiny.hint(*PIXELS), **values), latent, steps=2)
        result = tiny.sample(tiny.apply(compiled, adapter, tiny.hint(*PIXELS), **values), latent, steps=2)
        torch.testing.assert_close(result, expected, **tiny.CLOSE)
        assert (expected - bare).abs().max() > 0.1
