"""The measures of landscapes: the truth gets full marks, other pictures don't."""

from __future__ import annotations

import pytest
import torch
from t2i_adapter_miniature.landscapes import measure, truth
from t2i_adapter_miniature.landscapes.judge import Judge, judged

LAND = ("mountain", "snow", "hill", "tree", "house", "grass")


@pytest.fixture(scope="module")
def asked() -> measure.Asked:
    torch.set_num_threads(1)
    return measure.held_out(16)


@pytest.fixture(scope="module")
def others() -> measure.Asked:
    return measure.held_out(16, 200)


def test_lines_of_the_truth_are_found_within_a_pixel_and_others_are_not(asked, others):
    region = asked.painted.region
    for begins, line in ((LAND, truth.ridge(asked.scenes, region)),
                         (("water-other",), truth.horizon(asked.scenes, region))):  # fmt: skip
        own, other = (
            measure.line_error(truth.class_map(each.painted.region), begins, line) for each in (asked, others)
        )
        assert (~own.isnan()).sum() >= 6
        assert own.nanmedian() <= 1
        assert other.nanmedian() > 5


def test_what_is_named_is_there_and_an_empty_sky_lacks_it(asked):
    classes = truth.class_map(asked.painted.region)
    assert measure.named_there(classes, asked.facts).mean() > 0.98
    assert measure.named_there(torch.zeros_like(classes), asked.facts).max() == 0


def test_palette_and_noise_of_the_truth_itself(asked, others):
    mine, theirs = asked.painted.picture, others.painted.picture
    assert measure.palette_l1(mine, mine).max() == 0
    assert measure.palette_l1(mine, theirs).mean() > 0.1
    noisy = mine + 0.1 * torch.randn(mine.shape, generator=torch.Generator().manual_seed(0))
    assert abs(float(measure.psnr(noisy, mine).mean()) - 20.0) < 0.2


def test_another_light_keeps_the_shapes(asked):
    other = asked.in_other_light()
    assert not (other.scenes.light.season == asked.scenes.light.season).any()
    assert not (other.scenes.light.hour == asked.scenes.light.hour).any()
    same = truth.layer_map(other.painted.region) == truth.layer_map(asked.painted.region)
    # A crescent is smaller than the sun.
    assert same.float().mean() > 0.99


def test_the_judge_names_every_pixel_and_the_light(asked):
    classes, season, hour = judged(Judge().eval(), asked.painted.picture)
    assert classes.shape == asked.painted.region.shape
    assert 0 <= int(classes.min()) <= int(classes.max()) < len(truth.CLASSES)
    assert season.shape == hour.shape == (16,)
    assert int(season.max()) < 4


def test_a_missing_judge_says_how_to_make_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="--only judge"):
        measure.load_judge(tmp_path / "judge.safetensors")
