"""ComfyUI's node TorchCompileModel with its default backend: the generated code makes the same picture."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ..host import tiny

pytestmark = [pytest.mark.host, pytest.mark.slow, pytest.mark.timeout(600)]
LATENT, PIXELS = (8, 8), (64, 64)


@pytest.fixture(scope="module")
def lean(inside_comfyui: Any) -> Any:
    """As few blocks as a UNet of SDXL's places can have: on a CPU each costs seconds of a C++ compiler."""
    yield tiny.model("one block", transformer_depth=[0, 0, 1])
    torch._dynamo.reset()


def test_compiled_by_inductor_the_adapter_acts_alike(lean):
    from comfy_extras.nodes_torch_compile import TorchCompileModel

    config, latent = tiny.adapter_config("SDXL"), tiny.latent(*LATENT)
    adapters = [tiny.adapter(config, seed) for seed in (0, 1)]
    compiled = TorchCompileModel.execute(lean, "inductor")[0]
    bare = tiny.sample(lean, latent, steps=2)
    for adapter, strength in ((adapters[0], 1.0), (adapters[0], 0.5), (adapters[1], 1.0)):
        values = {"strength": strength}
        expected = tiny.sample(tiny.apply(lean, adapter, tiny.hint(*PIXELS), **values), latent, steps=2)
        result = tiny.sample(tiny.apply(compiled, adapter, tiny.hint(*PIXELS), **values), latent, steps=2)
        torch.testing.assert_close(result, expected, **tiny.CLOSE)
        assert (expected - bare).abs().max() > 0.1
