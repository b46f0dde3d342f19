"""An adapter either fits a MODEL's structure, or is refused with a message that names both."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from . import oracle, tiny

pytestmark = pytest.mark.host
FAMILY = {"SD": "SD1.x / SD2.x", "SDXL": "SDXL"}
# Three levels of SDXL's widths fit no other model's coarser levels: only these pairs fit.
FITS = {
    ("SD", "SD"),
    ("SDXL", "SDXL"),
    ("SDXL", "one block"),
    ("SDXL", "no middle"),
    ("SD", "SD2"),
    ("SDXL", "SSD-1B"),
    ("SD", "inpaint"),
    ("SD", "8 channels"),
    ("SDXL", "inpaint XL"),
}
CHANGED: dict[str, tuple[str, dict[str, Any]]] = {
    "SD2": ("SD", {"context_dim": 128, "use_linear_in_transformer": True, "num_head_channels": 16}),
    "SSD-1B": ("SDXL", {"transformer_depth": [0, 0, 1, 1, 2, 2], "transformer_depth_middle": -1}),
    "inpaint": ("SD", {"in_channels": 9}),
    "8 channels": ("SD", {"in_channels": 8}),
    "inpaint XL": ("SDXL", {"in_channels": 9}),
    "other width": ("SD", {"model_channels": 64}),
    "other width XL": ("SDXL", {"model_channels": 64}),
}
UNETS = (*tiny.UNETS, *CHANGED)


@pytest.fixture(scope="module")
def unets(models: dict[str, Any]) -> dict[str, Any]:
    """A MODEL of every UNet."""
    made = dict(models)
    for name in UNETS:
        kind, changes = CHANGED.get(name, (name, {}))
        made.setdefault(name, tiny.model(kind, **changes))
    return made


@pytest.mark.parametrize("unet", UNETS)
@pytest.mark.parametrize("kind", ["SD", "SDXL"])
def test_every_adapter_fits_or_is_refused_by_name(unets, kind, unet):
    from t2i_adapter_pack.adapter_models.errors import FamilyMismatchError

    adapter, image = tiny.adapter(tiny.adapter_config(kind)), tiny.hint(128, 128)
    if (kind, unet) in FITS:
        assert tiny.apply(unets[unet], adapter, image) is not unets[unet]
        return
    with pytest.raises(FamilyMismatchError) as caught:
        tiny.apply(unets[unet], adapter, image)
    assert caught.value.where == "adapter"
    assert FAMILY[kind] in caught.value.got
    assert "Tiny (BaseModel)" in str(caught.value)


@pytest.mark.parametrize("kind", ["SD", "SDXL"])
def test_a_misfit_is_refused_at_strength_0_too(models, kind):
    from t2i_adapter_pack.adapter_models.errors import FamilyMismatchError

    other = models["SD" if kind == "SDXL" else "SDXL"]
    with pytest.raises(FamilyMismatchError):
        tiny.apply(other, tiny.adapter(tiny.adapter_config(kind)), tiny.hint(64, 64), strength=0.0)


def test_core_takes_the_wrong_adapter_without_a_word(sdxl, caplog):
    """Without the check, the picture would be wrong without a warning."""
    control = tiny.core_control(tiny.adapter_config("SD"))
    positive, negative = tiny.apply_core(tiny.conditioning(1), tiny.conditioning(2), control, tiny.hint(128, 128))
    changed = tiny.sample(sdxl, tiny.latent(16, 16), positive=positive, negative=negative, steps=1)
    assert not torch.allclose(changed, tiny.sample(sdxl, tiny.latent(16, 16), steps=1), atol=0.1)
    assert not caplog.records


@pytest.mark.parametrize("levels", [3])
@pytest.mark.parametrize("kind", ["SD", "SDXL"])
def test_adapters_of_three_levels_fit_the_end_of_each_level(models, kind, levels):
    config = tiny.adapter_config(channels=tiny.WIDTHS[:levels], down_levels=(1, 2))
    seen: list[Any] = []
    spied = oracle.spied(
        tiny.apply(models[kind], tiny.adapter(config), tiny.hint(128, 128)),
        lambda _, options: seen.append(set(oracle.residuals_of(options))),
    )
    tiny.sample(spied, tiny.latent(16, 16), steps=1)
    assert seen == [{("input", 2), ("input", 5), ("input", 8)}]


@pytest.mark.parametrize(
    ("unet", "sites"),
    [
        ("one block", (("input", 2), ("input", 3), ("input", 5), ("middle", 0))),
        ("no middle", (("input", 2), ("input", 3), ("input", 5), ("middle", 0))),
    ],
)
def test_fewer_blocks_get_their_features_where_the_levels_end(unets, unet, sites, monkeypatch):
    """Without a middle its "output" is the last skip itself, which must not get the middle's features."""
    monkeypatch.setitem(oracle.SITES, unet, sites)
    config, image, latent = tiny.adapter_config("SDXL"), tiny.hint(128, 128), tiny.latent(16, 16)
    features = oracle.reference_features("SDXL", tiny.adapter_weights(config), image)
    result = tiny.sample(tiny.apply(unets[unet], tiny.adapter(config), image), latent, steps=2)
    expected = tiny.sample(oracle.inject_features(unets[unet], unet, features), latent, steps=2)
    torch.testing.assert_close(result, expected, **tiny.CLOSE)


@pytest.mark.parametrize(("unet", "channels"), [("inpaint", 5), ("8 channels", 4)])
def test_unets_with_more_inputs_sample(unets, unet, channels, monkeypatch):
    """The extra input channels do not concern the adapter."""
    import comfy.model_base

    def concat(self: Any, **values: Any) -> torch.Tensor:
        noise = values["noise"]
        return torch.full((noise.shape[0], channels, *noise.shape[2:]), 0.25)

    monkeypatch.setattr(comfy.model_base.BaseModel, "concat_cond", concat)
    config, image, latent = tiny.adapter_config(), tiny.hint(128, 128), tiny.latent(16, 16)
    features = oracle.reference_features("SD", tiny.adapter_weights(config), image)
    result = tiny.sample(tiny.apply(unets[unet], tiny.adapter(config), image), latent, steps=2)
    expected = tiny.sample(oracle.inject_features(unets[unet], "SD", features), latent, steps=2)
    torch.testing.assert_close(result, expected, **tiny.CLOSE)


def test_other_networks_are_refused_by_name():
    from t2i_adapter_pack.adapter_models.errors import FamilyMismatchError

    adapter = tiny.adapter(tiny.adapter_config())
    for name, model in tiny.other_models().items():
        with pytest.raises(FamilyMismatchError) as caught:
            tiny.apply(model, adapter, tiny.hint(64, 64))
        assert name in str(caught.value)
        assert caught.value.fix
