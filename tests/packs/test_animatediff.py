"""AnimateDiff-Evolved: in its context windows every frame follows its own condition image.

The double does what that pack does: around ComfyUI's calls of the prompts it takes some frames at a time, refuses a
control without the attribute ``sub_idxs``, and writes the frames into it, for all of a chain; newer ones also name them
in ``transformer_options``. It never takes the attributes back.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ..host import tiny
from ..host.conftest import inside_comfyui  # noqa: F401 - a fixture

pytestmark = pytest.mark.host
FRAMES, LATENT, PIXELS = 8, (8, 8), (64, 64)
WINDOWS = ((0, 1, 2, 3), (6, 0, 3), (1, 2, 7), (4, 5))


def tell(control: Any, frames: list[int]) -> None:
    if control.previous_controlnet is not None:
        tell(control.previous_controlnet, frames)
    if not hasattr(control, "sub_idxs"):
        raise ValueError(f"Control type {type(control).__name__} may not support required features")
    if not hasattr(control, "ACN_VERSION"):
        control.sub_idxs, control.full_latent_length, control.context_length = frames, FRAMES, len(frames)


def windowed(model: Any, *, named: bool) -> Any:
    """Return a MODEL that processes its batch in windows.

    Args:
        model: The MODEL.
        named: Whether the frames are also named in transformer_options.
    """
    from comfy.patcher_extension import WrappersMP

    def call(executor: Any, base: Any, conds: Any, x: torch.Tensor, timestep: torch.Tensor, options: Any) -> Any:
        totals = [torch.zeros_like(x) for _ in conds]
        counts = torch.zeros(len(x), 1, 1, 1)
        for frames in map(list, WINDOWS):
            for group in conds:
                for cond in group:
                    if "control" in cond:
                        tell(cond["control"], frames)
            names = {"sub_idxs": frames, "full_length": FRAMES, "context_length": len(frames)}
            more = {"ad_params": names} if named else {}
            inside = {**options, "transformer_options": {**options["transformer_options"], **more}}
            made = executor(base, conds, x[frames], timestep[frames], inside)
            for total, part in zip(totals, made, strict=True):
                total[frames] += part
            counts[frames] += 1
        return [total / counts for total in totals]

    clone = model.clone()
    clone.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, "windows", call)
    return clone


def prompts(image: torch.Tensor, *nets: Any) -> dict[str, Any]:
    first, second = tiny.conditioning(1), tiny.conditioning(2)
    for net in nets:
        first, second = tiny.apply_core(first, second, net, image, strength=0.7)
    return {"positive": first, "negative": second}


@pytest.mark.parametrize("kind", ["SD", "SDXL"])
@pytest.mark.parametrize("named", [True, False])
def test_each_frame_gets_its_own_hint(inside_comfyui, kind, named):  # noqa: F811 - the fixture
    """Frames are independent in this UNet, so any windows give the whole batch's result."""
    from t2i_adapter_pack.nodes.as_controlnet import T2IAdapterToControlNet

    adapter, model, latent = tiny.adapter(tiny.adapter_config(kind)), tiny.model(kind), tiny.latent(*LATENT, FRAMES)
    for hints in (1, 3, FRAMES):
        given = prompts(tiny.hint(*PIXELS, hints), T2IAdapterToControlNet.execute(adapter)[0])
        expected, count = tiny.sample(model, latent, steps=2, **given), tiny.Count(adapter.network)
        result = tiny.sample(windowed(model, named=named), latent, steps=2, **given)
        torch.testing.assert_close(result, expected, **tiny.CLOSE)
        assert count.calls == 0  # the features are those of the run before
        # The attributes left from this run must have no effect in the next.
        torch.testing.assert_close(tiny.sample(model, latent, steps=2, **given), expected, **tiny.CLOSE)


def test_a_chain_of_two_is_told_and_hints_differ(inside_comfyui):  # noqa: F811 - the fixture
    from t2i_adapter_pack.nodes.as_controlnet import T2IAdapterToControlNet

    nets = [T2IAdapterToControlNet.execute(tiny.adapter(tiny.adapter_config(), seed))[0] for seed in (0, 1)]
    model, latent, image = tiny.model(), tiny.latent(*LATENT, FRAMES), tiny.hint(*PIXELS, FRAMES)
    given = prompts(image, *nets)
    expected = tiny.sample(model, latent, steps=2, **given)
    result = tiny.sample(windowed(model, named=False), latent, steps=2, **given)
    torch.testing.assert_close(result, expected, **tiny.CLOSE)
    other = tiny.sample(windowed(model, named=False), latent, steps=2, **prompts(image.roll(1, 0), *nets))
    assert (other - expected).abs().max() > 1
