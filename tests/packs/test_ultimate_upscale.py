"""Ultimate SD Upscale: each tile is a separate run, with the controls' hints cropped to the tile.

Before each tile the pack looks through the MODEL's patches for two classes that it knows, and stops at any other with
an UnboundLocalError: core's FreeU, or an adapter on the MODEL. On a CONTROL_NET it copies the control and replaces its
``cond_hint_original``.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from ..host import tiny

pytestmark = pytest.mark.host
TILE, PIXELS = (8, 8), (64, 128)


def cut(conditioning: list[Any], left: int, right: int) -> list[Any]:
    """Prompts whose controls, with those before them, see these columns of their hints."""
    result = []
    for text, values in conditioning:
        control = values.get("control")
        links, copies = [], []
        while control is not None:
            links.append(control)
            control = control.previous_controlnet
        for link in links:
            copy = link.copy()
            part = link.cond_hint_original[..., left:right]
            copy.cond_hint_original = functional.interpolate(part, size=(PIXELS[0], right - left), mode="nearest-exact")
            copies.append(copy)
        for copy, following in zip(copies, [*copies[1:], None], strict=True):
            copy.set_previous_controlnet(following)
        result.append([text, {**values, "control": copies[0]} if copies else values])
    return result


def upscaled(model: Any, positive: list[Any], negative: list[Any]) -> torch.Tensor:
    """Two tiles side by side, each sampled by itself, as a latent (1, 4, 8, 16)."""
    for patches in model.model_options["transformer_options"].get("patches", {}).values():
        for patch in patches:
            if type(patch).__name__ not in ("DiffSynthCnetPatch", "ZImageControlPatch"):
                raise UnboundLocalError("cropper")
    sides = ((0, 64), (64, 128))
    tiles = [
        tiny.sample(model, tiny.latent(*TILE), steps=3, positive=cut(positive, *side), negative=cut(negative, *side))
        for side in sides
    ]
    return torch.cat(tiles, dim=-1)


def prompts(control: Any, image: torch.Tensor) -> tuple[list[Any], list[Any]]:
    return tiny.apply_core(tiny.conditioning(1), tiny.conditioning(2), control, image)


@pytest.mark.parametrize("kind", ["SD", "SDXL"])
def test_an_adapter_as_controlnet_follows_each_tiles_part_as_cores_does(models, kind):
    from t2i_adapter_pack.nodes.as_controlnet import T2IAdapterToControlNet

    config, image = tiny.adapter_config(kind), tiny.hint(*PIXELS)
    expected = upscaled(models[kind], *prompts(tiny.core_control(config), image))
    net = T2IAdapterToControlNet.execute(tiny.adapter(config))[0]
    torch.testing.assert_close(upscaled(models[kind], *prompts(net, image)), expected, **tiny.CLOSE)
    changed = image.clone()
    changed[:, :, :64] = 0.0
    other = upscaled(models[kind], *prompts(net, changed))
    torch.testing.assert_close(other[..., 8:], expected[..., 8:], **tiny.CLOSE)
    assert (other[..., :8] - expected[..., :8]).abs().max() > 0.1


def test_through_control_the_model_route_would_give_each_tile_the_whole_image(sd):
    """The reason not to use ``control`` everywhere: the crash would become a silently wrong picture."""
    config, image = tiny.adapter_config(), tiny.hint(*PIXELS)
    right = upscaled(sd, *prompts(tiny.core_control(config), image))
    patched = tiny.apply(sd, tiny.adapter(config), image)
    tile = tiny.sample(patched, tiny.latent(*TILE), steps=3)
    assert (tile - right[..., 8:]).abs().max() > 0.1
    with pytest.raises(UnboundLocalError):
        upscaled(patched, tiny.conditioning(1), tiny.conditioning(2))
