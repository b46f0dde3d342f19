"""Nodes that switch a MODEL's patches by time (bleh's Model Patch Conditional).

Such a node calls the patches of one of two MODELs, depending on the noise level. It copies only the patches that it
supports: not the patch after the middle block, and no wrappers, which stay on the base MODEL.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ..host import oracle, tiny

pytestmark = pytest.mark.host
LATENT, PIXELS = (8, 16), (64, 128)
NAME = "input_block_patch"


def switched(base: Any, other: Any, *, when: Any) -> Any:
    """A clone of ``base`` whose input blocks have the patches of ``other`` where ``when(sigma)``, else its own."""
    patches = {
        yes: list(model.model_options["transformer_options"].get("patches", {}).get(NAME, ()))
        for yes, model in ((True, other), (False, base))
    }

    def call(h: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        for patch in patches[bool(when(float(options["sigmas"][0])))]:
            h = patch(h, options)
        return h

    clone = base.clone()
    clone.model_options["transformer_options"].setdefault("patches", {})[NAME] = [call]
    return clone


def early(sigma: float) -> bool:
    return sigma > 3.0


def run(model: Any) -> torch.Tensor:
    return tiny.sample(model, tiny.latent(*LATENT), steps=4)


@pytest.mark.parametrize("kind", ["SD", "SDXL"])
def test_copied_to_a_model_without_adapters_they_are_refused_with_the_way_that_works(models, kind):
    from t2i_adapter_pack.adapter_models.errors import AdapterError

    patched = tiny.apply(models[kind], tiny.adapter(tiny.adapter_config(kind)), tiny.hint(*PIXELS))
    with pytest.raises(AdapterError, match=r"copied this MODEL's patches.*T2I-Adapter as ControlNet.*start_percent"):
        run(switched(models[kind], patched, when=early))
    assert not tiny.left_of_runs()


@pytest.mark.parametrize("kind", ["SD", "SDXL"])
def test_built_upon_the_adapted_model_they_act_where_they_are_called(models, kind):
    """All sites or none: the middle block's residual, unsupported by the node, follows the others."""
    config, image = tiny.adapter_config(kind), tiny.hint(*PIXELS)
    features = oracle.reference_features(kind, tiny.adapter_weights(config), image)
    levels: list[bool] = []

    def late_alone(level: int, h: torch.Tensor, options: dict[str, Any]) -> torch.Tensor | None:
        levels.append(early(float(options["sigmas"][0])))
        return None if levels[-1] else features[level].repeat(h.shape[0], 1, 1, 1)

    expected = run(oracle.inject(models[kind], kind, late_alone))
    result = run(switched(tiny.apply(models[kind], tiny.adapter(config), image), models[kind], when=early))
    torch.testing.assert_close(result, expected, **tiny.CLOSE)
    assert set(levels) == {True, False}
