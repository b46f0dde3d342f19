"""UNets in every precision that users load: the picture equals core's, and features have the UNet's precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from ..host import oracle, tiny

pytestmark = [pytest.mark.host, pytest.mark.parity]
LATENT, PIXELS = (8, 16), (64, 128)


@dataclass(frozen=True)
class Precision:
    """Storage precision of a UNet's weights, and compute precision (None for the same)."""

    name: str
    stored: torch.dtype
    computed: torch.dtype | None = None


PRECISIONS = (
    Precision("fp32", torch.float32),
    Precision("fp16", torch.float16),
    Precision("bf16", torch.bfloat16),
    Precision("fp8_e4m3fn in fp16", torch.float8_e4m3fn, torch.float16),
    Precision("fp8_e5m2 in bf16", torch.float8_e5m2, torch.bfloat16),
)


def exact_twin(model: Any, kind: str) -> Any:
    """The same weights, computed with in float32."""
    twin = tiny.model(kind)
    weights = {name: weight.float() for name, weight in model.model.diffusion_model.state_dict().items()}
    twin.model.diffusion_model.load_state_dict(weights)
    return twin


CASES = [("SD", row) for row in PRECISIONS] + [("SDXL", PRECISIONS[-2])]


@pytest.mark.parametrize(("kind", "precision"), CASES, ids=lambda case: getattr(case, "name", case))
def test_the_picture_is_cores(inside_comfyui, kind, precision):
    model = tiny.model(kind, manual_cast=precision.computed, dtype=precision.stored)
    config, image = tiny.adapter_config(kind), tiny.hint(*PIXELS)
    exact, latent = exact_twin(model, kind), tiny.latent(*LATENT)
    positive, negative = tiny.apply_core(tiny.conditioning(1), tiny.conditioning(2), tiny.core_control(config), image)
    prompts = {"positive": positive, "negative": negative}
    seen: list[torch.Tensor] = []
    ours = oracle.spied(
        tiny.apply(model, tiny.adapter(config, dtype=torch.float32), image),
        lambda _, options: seen.extend(oracle.residuals_of(options).values()),
    )
    mine = tiny.sample(ours, latent, steps=2)
    theirs = tiny.sample(model, latent, steps=2, **prompts)
    bare = tiny.sample(model, latent, steps=2)
    best = tiny.sample(exact, latent, steps=2, **prompts)
    differs = (mine - theirs).square().mean().sqrt()
    # The tolerance is the UNet's own error against float32 in that precision.
    assert differs <= 2 * (theirs - best).square().mean().sqrt() + 1e-4
    assert differs < 0.1 * (theirs - bare).square().mean().sqrt()
    assert {each.dtype for each in seen} == {precision.computed or precision.stored}
    assert {each.device.type for each in seen} == {model.load_device.type}
