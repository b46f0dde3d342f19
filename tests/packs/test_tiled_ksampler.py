"""Samplers like Tiled KSampler: each tile is a separate run, and follows its part of the image.

The double does what those packs do: of the prompts' controls it takes those of ComfyUI's own class for adapters; before
each tile's run it forgets their features and sets ``cond_hint`` to the tile's part of the image, once for all pictures.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ..host import tiny
from ..host.conftest import inside_comfyui  # noqa: F401 - a fixture

pytestmark = pytest.mark.host
TILE = 16


def cut(given: dict[str, Any], start: int) -> int:
    """Set the part of the image of each control that is an adapter; how many there are."""
    import comfy.controlnet

    controls = {prompt[1]["control"] for side in given.values() for prompt in side}
    found = [control for control in controls if isinstance(control, comfy.controlnet.T2IAdapter)]
    for control in found:
        control.control_input = None
        assert control.channels_in == 3  # else that pack makes the image gray in its own way
        part = control.cond_hint_original[..., 8 * start : 8 * (start + TILE)]
        control.cond_hint = part.float().to(control.device)
    return len(found)


@pytest.mark.parametrize("kind", ["SD", "SDXL"])
@pytest.mark.parametrize("hints", [1, 2])
def test_each_tile_follows_its_part_of_the_image(inside_comfyui, kind, hints):  # noqa: F811 - the fixture
    from t2i_adapter_pack.nodes.as_controlnet import T2IAdapterToControlNet

    adapter, image = tiny.adapter(tiny.adapter_config(kind)), tiny.hint(128, 256, hints)
    model, latent = tiny.model(kind), tiny.latent(TILE, TILE, 2)
    net = T2IAdapterToControlNet.execute(adapter)[0]
    first, second = tiny.apply_core(tiny.conditioning(1), tiny.conditioning(2), net, image)
    given = {"positive": first, "negative": second}
    for start in (0, 11, 16):
        assert cut(given, start) == 1
        result = tiny.sample(model, latent, steps=2, **given)
        part = image[:, :, 8 * start : 8 * (start + TILE)]
        direct = tiny.sample(tiny.apply(model, adapter, part), latent, steps=2)
        torch.testing.assert_close(result, direct, **tiny.CLOSE)
    assert torch.equal(  # no state of the tiles is left
        tiny.sample(model, tiny.latent(TILE, 2 * TILE), steps=1, **given),
        tiny.sample(tiny.apply(model, adapter, image), tiny.latent(TILE, 2 * TILE), steps=1),
    )
