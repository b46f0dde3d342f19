"""Advanced-ControlNet: the settings that its Apply node passes to a control act on ours.

The double does what that node does with a control that has the attribute ``sub_idxs``: it asks for some attributes and
calls some methods. Keyframes and weights stand for its objects, with the attributes that a control reads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from ..host import oracle, tiny
from ..host.conftest import inside_comfyui  # noqa: F401 - a fixture

pytestmark = pytest.mark.host
LATENT, PIXELS, STEPS = (16, 16), (128, 128), 4


@dataclass
class LatentKeyframe:
    batch_index: int
    strength: float


@dataclass
class WeightsDouble:
    weight_type: str = "default"
    base_multiplier: float = 1.0
    weights_input: list[float] | None = None
    uncond_multiplier: float = 1.0
    weight_mask: Any = None
    extras: dict[str, float] = field(default_factory=dict)


@dataclass
class TimestepKeyframe:
    start_percent: float
    strength: float = 1.0
    control_weights: Any = None
    latent_keyframes: Any = None
    null_latent_kf_strength: float = 0.0
    inherit_missing: bool = True
    guarantee_steps: int = 1
    mask_hint_orig: Any = None


@dataclass
class Keyframes:
    """A group of its keyframes, which always begins with one for the whole run."""

    later: tuple[TimestepKeyframe, ...]

    @property
    def keyframes(self) -> list[TimestepKeyframe]:
        return [TimestepKeyframe(0.0, guarantee_steps=0), *self.later]


def control(kind: str = "SD") -> Any:
    from t2i_adapter_pack.nodes.as_controlnet import T2IAdapterToControlNet

    return T2IAdapterToControlNet.execute(tiny.adapter(tiny.adapter_config(kind)))[0]


def apply(net: Any, image: torch.Tensor, **handed: Any) -> dict[str, Any]:
    """Its Apply node."""
    copied = net.copy().set_cond_hint(image.movedim(-1, 1), 0.8, (0.0, 1.0), None)
    assert hasattr(copied, "sub_idxs")
    copied.disarm()
    assert not copied.allow_condhint_latents
    assert not copied.postpone_condhint_latents_check
    assert not copied.require_vae
    if "keyframes" in handed:
        copied.set_timestep_keyframes(handed["keyframes"])
    copied.latent_keyframe_override = handed.get("pictures")
    copied.weights_override = handed.get("weights")
    copied.verify_all_weights()
    if "mask" in handed:
        copied.set_cond_hint_mask(handed["mask"].clone())
    copied.set_previous_controlnet(None)
    sides = (tiny.conditioning(1), tiny.conditioning(2))
    first, second = ([[text, {**values, "control": copied}] for text, values in side] for side in sides)
    return {"positive": first, "negative": second}


# (level, side: 0 positive, step) -> a factor, or factors for pictures and places that fit (pictures, C, h, w).
Factor = Callable[[int, int, int, torch.Size], Any]


def expected(kind: str, image: torch.Tensor, factor: Factor) -> torch.Tensor:
    """Oracle: features times factors, added by plain patches."""
    features = oracle.reference_features(kind, tiny.adapter_weights(tiny.adapter_config(kind)), image)
    seen: list[float] = []

    def levels(level: int, h: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        sigma = float(options["sigmas"][0])
        if sigma not in seen:
            seen.append(sigma)
        step, feature = len(seen) - 1, 0.8 * features[level].expand(2, -1, -1, -1)
        return torch.cat([feature * factor(level, side, step, h.shape) for side in options["cond_or_uncond"]])

    return tiny.sample(oracle.inject(tiny.model(kind), kind, levels), tiny.latent(*LATENT, 2), steps=STEPS)


def right_half(level: int, side: int, step: int, shape: torch.Size) -> torch.Tensor:
    return (torch.arange(shape[-1]) >= shape[-1] / 2).float()


def half() -> torch.Tensor:
    return (torch.arange(PIXELS[1]) >= PIXELS[1] / 2).float().expand(1, *PIXELS)


SOFT = (0.25, 0.62, 0.825, 1.0)
UNIVERSAL = (0.5**7, 0.5**2, 0.5, 1.0)
CASES: dict[str, tuple[Callable[[], dict[str, Any]], Factor]] = {
    "nothing": (dict, lambda *_: 1.0),
    "a mask": (lambda: {"mask": half()}, right_half),
    "weights of levels": (
        lambda: {"weights": WeightsDouble("t2iadapter", weights_input=[w for w in SOFT for _ in range(3)])},
        lambda level, *_: SOFT[level],
    ),
    "universal weights": (lambda: {"weights": WeightsDouble("universal", 0.5)}, lambda level, *_: UNIVERSAL[level]),
    "a factor of the negative prompt": (
        lambda: {"weights": WeightsDouble(uncond_multiplier=0.25)},
        lambda level, side, *_: (1.0, 0.25)[side],
    ),
    "pictures": (
        lambda: {"pictures": [LatentKeyframe(-1, 0.5)]},
        lambda *_: torch.tensor([0.0, 0.5]).view(2, 1, 1, 1),
    ),
    # Of four steps of the normal schedule the second begins at a third: 0.333.
    "keyframes": (
        lambda: {"keyframes": Keyframes((TimestepKeyframe(0.2, 0.4, WeightsDouble("universal", 0.5)),))},
        lambda level, side, step, _: 0.4 * UNIVERSAL[level] if step else 1.0,
    ),
    "keyframes that inherit, or not": (
        lambda: {
            "keyframes": Keyframes(
                (
                    TimestepKeyframe(0.0, control_weights=WeightsDouble("universal", 0.5), mask_hint_orig=half()),
                    TimestepKeyframe(0.2, 0.9),
                    TimestepKeyframe(0.5, 0.7, inherit_missing=False),
                )
            )
        },
        lambda level, side, step, shape: (
            0.7 if step > 1 else (1.0, 0.9)[step] * UNIVERSAL[level] * right_half(level, side, step, shape)
        ),
    ),
    "keyframes with steps of their own": (
        lambda: {"keyframes": Keyframes((TimestepKeyframe(0.1, 0.3, guarantee_steps=2), TimestepKeyframe(0.15, 2.0)))},
        lambda level, side, step, _: (1.0, 0.3, 0.3, 2.0)[step],
    ),
    "pictures of a keyframe": (
        lambda: {
            "keyframes": Keyframes(
                (TimestepKeyframe(0.0, latent_keyframes=[LatentKeyframe(0, 0.5)], null_latent_kf_strength=0.1),)
            )
        },
        lambda *_: torch.tensor([0.5, 0.1]).view(2, 1, 1, 1),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_it_hands_over_acts(name):
    handed, factor = CASES[name]
    image = tiny.hint(*PIXELS)
    given = apply(control(), image, **handed())
    result = tiny.sample(tiny.model(), tiny.latent(*LATENT, 2), steps=STEPS, **given)
    torch.testing.assert_close(result, expected("SD", image, factor), **tiny.CLOSE)
    assert tiny.left_of_runs() == []


def test_levels_count_from_the_fine_one_in_every_family():
    """That pack counts an SDXL adapter's levels by the blocks of SD, and leaves its coarse ones alone."""
    handed, factor = CASES["weights of levels"]
    image = tiny.hint(*PIXELS)
    given = apply(control("SDXL"), image, **handed())
    result = tiny.sample(tiny.model("SDXL"), tiny.latent(*LATENT, 2), steps=STEPS, **given)
    torch.testing.assert_close(result, expected("SDXL", image, factor), **tiny.CLOSE)


def test_a_mask_lies_still_under_an_area():
    """The part of the mask under the area, as the part of the image."""
    image, mask = tiny.hint(*PIXELS), half()
    given = apply(control(), image, mask=mask)
    part = {"area": (8, 16, 4, 0), "strength": 1.0}
    positive = [[text, {**values, **part}] for text, values in given["positive"]]
    result = tiny.sample(tiny.model(), tiny.latent(*LATENT), steps=2, positive=positive, negative=given["negative"])
    patched = tiny.apply(tiny.model(), tiny.adapter(tiny.adapter_config()), image, mask=mask, strength=0.8)
    direct = tiny.sample(patched, tiny.latent(*LATENT), steps=2, positive=tiny.conditioning(1, **part))
    torch.testing.assert_close(result, direct, **tiny.CLOSE)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (WeightsDouble("controlnet"), "of the kind controlnet"),
        (WeightsDouble("universal", weight_mask=torch.ones(1, 8, 8)), "weights with a mask"),
    ],
)
def test_weights_that_say_nothing_of_levels_are_refused(weights, said):
    from t2i_adapter_pack.adapter_models.errors import AdapterError

    image = tiny.hint(*PIXELS)
    with pytest.raises(AdapterError, match=said):
        apply(control(), image, weights=weights)
    with pytest.raises(AdapterError, match=said):
        apply(control(), image, keyframes=Keyframes((TimestepKeyframe(0.5, control_weights=weights),)))


def test_a_mask_under_tiles_that_nobody_places_is_refused():
    from t2i_adapter_pack.adapter_models.errors import AdapterError

    given = apply(control(), tiny.hint(128, 256), mask=half())
    given["positive"][0][1]["control"].cond_hint = torch.rand(1, 3, *PIXELS)
    with pytest.raises(AdapterError, match="without telling where"):
        tiny.sample(tiny.model(), tiny.latent(*LATENT), steps=1, **given)


def test_a_copy_for_another_device_or_node_keeps_what_was_handed_over():
    used = apply(control(), tiny.hint(*PIXELS), mask=half(), weights=WeightsDouble("universal", 0.5))
    net = used["positive"][0][1]["control"]
    for copied in (net.copy(), net.deepclone_multigpu(torch.device("cpu"))):
        assert copied.overrides == net.overrides
