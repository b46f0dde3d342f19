"""Landscapes: what is drawn, what is said of it, and what its conditions show, agree."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
import torch
from t2i_adapter_miniature.landscapes import canvas, captions, conditions, paint, scene, truth
from t2i_adapter_miniature.landscapes.light import AUTUMN, FLAT, NIGHT, PAPER, WINTER
from t2i_adapter_pack.annotators import segmentation
from torch.nn import functional

COUNT = 24
SEEDS = scene.HELD_OUT + torch.arange(COUNT)


@pytest.fixture(scope="module")
def scenes() -> scene.Scenes:
    torch.set_num_threads(1)
    return scene.draw_scenes(SEEDS)


@pytest.fixture(scope="module")
def painted(scenes) -> paint.Painting:
    return paint.paint(scenes, 128)


@pytest.fixture(scope="module")
def seen(scenes, painted) -> truth.Facts:
    return truth.facts(scenes, painted.region)


def test_a_scene_is_the_same_alone_and_in_a_batch(painted):
    for number in (0, 7, COUNT - 1):
        alone = paint.paint(scene.draw_scenes(SEEDS[number : number + 1]), 128)
        assert torch.equal(alone.region[0], painted.region[number])
        torch.testing.assert_close(alone.picture[0], painted.picture[number], atol=1e-5, rtol=0)


def test_a_scene_is_the_same_at_twice_the_size(scenes, painted):
    large = paint.paint(scenes, 256)
    smaller = functional.avg_pool2d(large.picture, 2)
    assert (smaller - painted.picture).abs().mean() < 0.012
    assert (truth.class_map(large.region)[:, ::2, ::2] == truth.class_map(painted.region)).float().mean() > 0.97


def test_season_and_hour_change_the_light_and_no_outline():
    plain, other = (scene.draw_scenes(SEEDS[:8], *light) for light in ((AUTUMN, NIGHT), (WINTER, NIGHT)))
    first, second = paint.paint(plain, 64), paint.paint(other, 64)
    same = conditions.sketch(first.region, 64) == conditions.sketch(second.region, 64)
    # Snow lies deeper on the mountains in winter.
    assert same.float().mean() > 0.97
    assert (first.picture - second.picture).abs().mean() > 0.05


def test_the_styles_differ_in_colours_alone(scenes, painted):
    paper = paint.paint(scenes, 128, PAPER)
    assert (paper.region == painted.region).float().mean() > 0.999
    assert (paper.picture - painted.picture).abs().mean() > 0.02


def test_pictures_have_colours_and_no_holes(painted):
    assert painted.picture.min() >= 0
    assert painted.picture.max() <= 1
    assert (painted.picture.amax(1) > 0.02).all()
    assert painted.picture.flatten(2).std(2).min() > 0.05


def test_the_segmentation_shows_the_true_colour_of_each_class(painted):
    shown = conditions.segmentation(painted.region)
    classes = truth.class_map(painted.region)
    for number, name in enumerate(truth.CLASSES):
        colour = torch.tensor(segmentation.label_colour(segmentation.label_id(name))) / 255
        assert torch.equal((shown == colour[:, None, None]).all(1), classes == number), name


def test_one_region_has_one_colour_family(painted):
    """Water, grass and house of one picture are further from each other than their own pixels are on average."""
    classes = truth.class_map(painted.region)
    colours = truth.class_colours(painted.picture, classes)
    wanted = [truth.CLASSES.index(name) for name in ("sky-other", "grass")]
    both = colours[:, wanted]
    there = ~both.isnan().flatten(1).any(1)
    assert there.sum() > 8
    assert (both[there, 0] - both[there, 1]).norm(dim=1).median() > 0.25


def test_nearer_planes_are_brighter_in_the_depth(painted):
    depth = conditions.depth(painted.region)[:, 0]
    layer = truth.layer_map(painted.region)
    for first, second in ((canvas.SKY, canvas.FAR_RANGE), (canvas.FAR_RANGE, canvas.HILLS),
                          (canvas.WATER, canvas.MIDDLE), (canvas.MIDDLE, canvas.NEAR)):  # fmt: skip
        assert depth[layer == first].max() < depth[layer == second].min()
    assert depth.max() <= 1


def test_lines_of_a_sketch_lie_on_borders_and_nowhere_else(painted):
    lines = conditions.sketch(painted.region, 128, 1.0)[:, 0] > 0
    region = functional.pad(painted.region.float()[:, None], (1, 1, 1, 1), mode="replicate")
    most, least = functional.max_pool2d(region, 3, 1)[:, 0], -functional.max_pool2d(-region, 3, 1)[:, 0]
    assert not (lines & (most == least)).any()
    classes = truth.class_map(painted.region)
    # A forest and the hill that it stands on are drawn as one.
    hills = truth.layer_map(painted.region) == canvas.HILLS
    border = (classes[:, :, 1:] != classes[:, :, :-1]) & ~(hills[:, :, 1:] & hills[:, :, :-1])
    assert lines[:, :, :-1][border].all()


def test_a_hand_strays_a_little_and_leaves_gaps(painted):
    lines = conditions.sketch(painted.region, 128, 2.0)
    generator = torch.Generator().manual_seed(3)
    drawn = conditions.by_hand(lines, conditions.Hand.draw(COUNT, generator, steady=0.0))
    near = functional.max_pool2d(lines, 9, 1, 4)
    assert not torch.equal(drawn, lines)
    assert drawn[near == 0].max() < 0.05
    assert 0.6 < drawn.sum() / lines.sum() < 0.98
    steady = conditions.by_hand(lines, conditions.Hand.draw(COUNT, generator, steady=1.0))
    torch.testing.assert_close(steady, lines, atol=1e-3, rtol=0)


def test_the_palette_is_the_mean_of_its_cells(painted):
    wanted = functional.avg_pool2d(painted.picture, 16).repeat_interleave(16, 2).repeat_interleave(16, 3)
    torch.testing.assert_close(conditions.palette(painted.picture), wanted, atol=5e-3, rtol=0)


def test_the_pose_lies_on_the_person(scenes, painted):
    shown = conditions.pose(scenes, 128).amax(1) > 0
    person = truth.layer_map(painted.region) == canvas.PERSON
    assert scenes.person.there.sum() >= 4
    assert not shown[~scenes.person.there].any()
    around = functional.max_pool2d(person.float()[:, None], 5, 1, 2)[:, 0] > 0
    inside = (shown & around).flatten(1).sum(1) / shown.flatten(1).sum(1).clamp(min=1)
    assert inside[scenes.person.there].min() > 0.85


def test_a_caption_names_what_can_be_seen_and_nothing_else(seen):
    for number, text in enumerate(captions.captions(seen)):
        row = seen.pick(slice(number, number + 1))
        kinds = row.kind[0].tolist()
        assert ("house" in text) == (scene.HOUSE in kinds), text
        assert ("pine" in text) == (scene.PINE in kinds), text
        assert ("boat" in text) == bool(row.boat), text
        assert ("person" in text) == bool(row.person), text
        assert ("mountains" in text) == bool(row.mountains), text
        assert ("lake" in text) == (int(row.water) == scene.LAKE), text
        assert ("at night" in text) == (int(row.hour) == NIGHT), text


def test_things_that_are_named_have_pixels_of_their_class(painted, seen):
    classes = truth.class_map(painted.region)
    for there, name in ((seen.boat > 0, "boat"), (seen.person > 0, "person"), (seen.water > 0, "water-other"),
                        ((seen.kind == scene.HOUSE).any(1), "house"), (seen.road > 0, "road")):  # fmt: skip
        share = (classes == truth.CLASSES.index(name)).flatten(1).float().mean(1)
        assert there.any()
        assert (share[there] > 0.001).all(), name


def test_captions_lose_words_at_random_and_follow_from_their_chooser(seen):
    drop = captions.Drop()
    full = captions.captions(seen)
    first, again, other = (captions.captions(seen, random.Random(seed), drop) for seed in (1, 1, 2))
    assert first == again != other
    assert sum(map(len, first)) < sum(map(len, full))
    assert captions.captions(seen, random.Random(1), captions.Drop(everything=1.0)) == [""] * COUNT


def test_lines_of_the_truth_lie_where_the_classes_change(scenes, painted):
    layer = truth.layer_map(painted.region)
    for lines, part in ((truth.horizon(scenes, painted.region), {canvas.WATER}),
                        (truth.ridge(scenes, painted.region), {canvas.FAR_RANGE, canvas.NEAR_RANGE})):  # fmt: skip
        row, column = torch.nonzero(~lines.isnan(), as_tuple=True)
        assert len(row) > 200
        edge = lines[row, column].round().long()
        assert all(int(value) in part for value in layer[row, (edge + 1).clamp(max=127), column])
        assert not any(int(value) in part for value in layer[row, (edge - 2).clamp(min=0), column])


def test_a_scene_agrees_with_itself_and_not_with_another(painted):
    classes = truth.class_map(painted.region)
    assert truth.class_iou(classes, classes).min() == 1
    assert truth.class_iou(classes.roll(1, 0), classes).mean() < 0.4


def test_planes_in_another_order_are_noticed(painted):
    classes = truth.class_map(painted.region)
    assert truth.order_right(classes, painted.region).min() == 1
    assert truth.order_right(classes.flip(1), painted.region).mean() < 0.2


def test_a_named_colour_is_that_of_its_thing():
    scenes = scene.draw_scenes(torch.arange(160), season=1, hour=1)
    painted = paint.paint(scenes, 64)
    colours = truth.named_colours(painted.picture, painted.region)
    houses = scenes.objects.kind == scene.HOUSE
    shown = ~colours.isnan().any(2)
    red, blue = (colours[houses & shown & (scenes.objects.colour == number)] for number in (0, 3))
    assert len(red) > 10
    assert len(blue) > 5
    assert (red[:, 0] > red[:, 2]).all()
    assert (blue[:, 2] > blue[:, 0]).all()


@pytest.mark.host
def test_captions_become_the_tokens_that_comfyui_gives_them(comfyui: Any):
    from comfy.sd1_clip import SD1Tokenizer

    tokenizer = SD1Tokenizer()
    scenes = scene.draw_scenes(torch.arange(300))
    region = torch.cat([paint.paint(scene.draw_scenes(part), 64, FLAT).region for part in torch.arange(300).split(60)])
    found = truth.facts(scenes, region)
    texts = captions.captions(found, random.Random(5), captions.Drop())
    ids = torch.tensor(captions.TOKEN_IDS)[captions.rows_of(texts)]
    words = set()
    for text, wanted in zip(texts, ids, strict=True):
        got = [token for token, _ in tokenizer.tokenize_with_weights(text)["l"][0]]
        assert got == wanted.tolist(), text
        words |= set(text.replace(",", " ,").split())
    unused = {word for word, _ in captions.WORDS[2:]} - words
    assert not unused


def test_a_chosen_light_leaves_the_truth_where_it_was(scenes):
    other = scene.draw_scenes(SEEDS, hour=NIGHT)
    assert torch.equal(other.objects.x, scenes.objects.x)
    assert (other.light.hour == NIGHT).all()
    assert torch.equal(replace(other, light=scenes.light).horizon, scenes.horizon)
