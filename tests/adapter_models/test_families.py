"""Families: each level of an adapter finds its block in a UNet of the right structure, whatever its widths."""

import pytest
from t2i_adapter_pack.adapter_models import families
from t2i_adapter_pack.adapter_models.errors import FamilyMismatchError

from . import samples


def outline(widths, blocks=2, middle=True, name="tiny"):
    """A UNet as ComfyUI lays it out: conv_in, the blocks of a level, and a block that shrinks between levels."""
    found, stride = [families.UNetBlock("input", 0, widths[0], 8)], 8
    for level, width in enumerate(widths):
        if level:
            stride *= 2
            found.append(families.UNetBlock("input", len(found), widths[level - 1], stride, shrinks=True))
        found += [families.UNetBlock("input", len(found) + i, width, stride) for i in range(blocks)]
    found.append(families.UNetBlock("middle", 0, widths[-1], stride, computes=middle))
    return families.UNetOutline(name, tuple(found))


SD, XL = (8, 16, 32, 32), (8, 16, 32)


def places(config, unet):
    return [(site.part, site.index) for site in families.sites_for("file", config, unet)]


CASES = {
    "SD": (samples.full(), outline(SD), [("input", 2), ("input", 5), ("input", 8), ("input", 11)]),
    "SD, light": (samples.light(), outline(SD), [("input", 2), ("input", 5), ("input", 8), ("input", 11)]),
    "SD, three levels": (samples.full(**samples.THREE), outline(SD), [("input", 2), ("input", 5), ("input", 8)]),
    "SDXL": (samples.xl(), outline(XL), [("input", 3), ("input", 5), ("input", 8), ("middle", 0)]),
    "SDXL, three levels": (samples.full(**samples.THREE), outline(XL), [("input", 2), ("input", 5), ("input", 8)]),
    "SDXL, one block a level": (
        samples.xl(),
        outline(XL, 1),
        [("input", 2), ("input", 3), ("input", 5), ("middle", 0)],
    ),
    "SD, one block a level": (samples.full(), outline(SD, 1), [("input", 1), ("input", 3), ("input", 5), ("input", 7)]),
    "SDXL, no middle": (samples.xl(), outline(XL, 1, False), [("input", 2), ("input", 3), ("input", 5), ("middle", 0)]),
}


@pytest.mark.parametrize(("config", "unet", "expected"), CASES.values(), ids=CASES)
def test_each_level_finds_its_block(config, unet, expected):
    sites = families.sites_for("file", config, unet)
    assert [(site.part, site.index) for site in sites] == expected
    assert [(site.channels, site.stride) for site in sites] == list(zip(config.channels, config.strides, strict=True))


@pytest.mark.parametrize("times", [1, 2, 40])
def test_widths_come_from_the_unet(times):
    widths = tuple(width * times for width in samples.CHANNELS)
    assert places(samples.full(channels=widths), outline(widths)) == CASES["SD"][2]
    assert places(samples.xl(channels=widths), outline(widths[:3])) == CASES["SDXL"][2]


WRONG = {
    "SD adapter on SDXL": (samples.full(), outline(XL, name="SDXL"), "SD1.x / SD2.x", "SDXL"),
    "SDXL adapter on SD": (samples.xl(), outline(SD, name="SD15"), "SDXL", "SD15"),
    "SDXL adapter on the refiner": (samples.xl(), outline((12, 24, 48, 48), name="SDXLRefiner"), "SDXL", "SDXLRefiner"),
    "SD adapter on the refiner": (
        samples.full(),
        outline((12, 24, 48, 48), name="SDXLRefiner"),
        "SD1.x",
        "SDXLRefiner",
    ),
    "SD adapter of other widths": (samples.full(channels=(4, 8, 16, 16)), outline(SD, name="SD15"), "SD1.x", "SD15"),
    "two levels": (samples.full(channels=(8, 16), down_levels=(1,)), outline(SD, name="SD15"), "no known UNet", "SD15"),
    "UNet of two levels": (samples.full(), outline((8, 16), name="Odd"), "SD1.x", "Odd"),
    "other cells": (samples.full(unshuffle=4), outline(SD, name="SD15"), "no known UNet", "SD15"),
}


@pytest.mark.parametrize(("config", "unet", "made_for", "model"), WRONG.values(), ids=WRONG)
def test_another_family_is_refused_with_both_sides_named(config, unet, made_for, model):
    with pytest.raises(FamilyMismatchError) as caught:
        families.sites_for("my adapter", config, unet)
    error = caught.value
    assert error.where == "my adapter"
    assert f"made for {made_for}" in error.got
    assert model in error.expected
    assert model in error.fix
    for width, stride in zip(config.channels, config.strides, strict=True):
        assert f"{width} (1/{stride})" in error.got


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("SD adapter on SDXL", "This adapter is for SD1.x / SD2.x, and the model is SDXL."),
        ("SDXL adapter on SD", "This adapter is for SDXL, and the model is SD15."),
        ("SDXL adapter on the refiner", "This adapter is for SDXL, and the model is SDXLRefiner."),
        ("SD adapter on the refiner", "The channels of this adapter do not fit the model, SDXLRefiner."),
        ("SD adapter of other widths", "The channels of this adapter do not fit the model, SD15."),
        ("other cells", "This adapter fits no known diffusion model."),
    ],
)
def test_the_error_begins_with_the_reason(case, says):
    config, unet, *_ = WRONG[case]
    with pytest.raises(FamilyMismatchError) as caught:
        families.sites_for("my adapter", config, unet)
    assert str(caught.value).startswith(f"{says}\n")


def test_the_error_tells_what_the_model_takes():
    with pytest.raises(FamilyMismatchError, match=r"8 \(1/16\), 16 \(1/16\), 32 \(1/32\), 32 \(1/32\); or channels 8"):
        families.sites_for("file", samples.full(), outline(XL))


def test_levels_end_before_the_block_that_shrinks():
    assert [block.index for block in outline(SD).levels] == [2, 5, 8, 11]
    assert [block.index for block in outline(XL, 1).levels] == [1, 3, 5]
    assert [block.index for block in outline((8,)).levels] == [2]


def test_no_two_families_take_the_same_shape_of_adapter():
    keys = [(row.unet_levels, len(row.sites)) for row in families.FAMILIES]
    assert len(set(keys)) == len(keys)
