"""The sizes of new adapters: the published ones at the published widths, and always a fit for the UNet."""

import pytest
from t2i_adapter_pack.adapter_models import families, networks
from t2i_adapter_pack.adapter_models.errors import FamilyMismatchError
from t2i_adapter_pack.training.errors import TrainingError
from t2i_adapter_pack.training.sizes import SIZES, config_for


def outline(widths, blocks=2):
    """A UNet of Stable Diffusion's kind: each level ends in a block that shrinks, but for the last."""
    found, stride = [families.UNetBlock("input", 0, widths[0], 8)], 8
    for level, width in enumerate(widths):
        if level:
            stride *= 2
            found.append(families.UNetBlock("input", len(found), widths[level - 1], stride, shrinks=True))
        for _ in range(blocks):
            found.append(families.UNetBlock("input", len(found), width, stride))
    return families.UNetOutline("tiny", (*found, families.UNetBlock("middle", 0, widths[-1], stride)))


SD = outline((320, 640, 1280, 1280))
XL = outline((320, 640, 1280))


@pytest.mark.parametrize(
    ("unet", "size", "channels", "parameters"),
    [
        (SD, "base", 1, 77_000_640),
        (SD, "base", 3, 77_369_280),
        (XL, "base", 1, 77_553_600),
        (XL, "base", 3, 79_028_160),
        (SD, "small", 3, 18_689_200),
        (SD, "tiny", 3, 5_083_960),
    ],
)
def test_the_published_sizes(unet, size, channels, parameters):
    network = networks.build_adapter(config_for(unet, size, channels), device="meta")
    assert sum(weight.numel() for weight in network.parameters()) == parameters


@pytest.mark.parametrize("widths", [(320, 640, 1280, 1280), (320, 640, 1280), (32, 64, 128, 128), (384, 768, 1536)])
@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("size", [row.name for row in SIZES])
def test_a_new_adapter_fits_its_unet(widths, blocks, size):
    unet = outline(widths, blocks)
    config = config_for(unet, size, 3)
    sites = families.sites_for("new", config, unet)
    assert len(sites) == 4
    assert config.strides == ((16, 16, 32, 32) if len(widths) == 3 else (8, 16, 32, 64))


@pytest.mark.parametrize(("size", "channels"), [("huge", 3), ("base", 2)])
def test_other_sizes_and_channels_are_refused(size, channels):
    with pytest.raises(TrainingError, match="size, image_channels: got"):
        config_for(SD, size, channels)


def test_unets_of_other_families_are_refused():
    with pytest.raises(FamilyMismatchError, match="2 resolutions"):
        config_for(outline((320, 640)), "base", 3)
