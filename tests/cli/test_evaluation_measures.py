"""The measures of the evaluation against known values, other libraries and properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage import color
from t2i_adapter_miniature import measure, scenes
from t2i_adapter_pack.adapter_models.conditions import IMAGE_CONDITIONS
from t2i_adapter_pack.annotators import keypoints, pose, segmentation
from t2i_adapter_pack.annotators.palette import palette
from t2i_adapter_pack.cli.evaluation import colours, controls, joints, lines, overlap, statistics


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def line_at(column: int) -> torch.Tensor:
    image = torch.zeros(1, 3, 16, 16)
    image[..., column] = 1.0
    return image


# --- statistics


def test_a_figure_of_sums_is_the_mean_where_it_is_one():
    values = noise(50)
    parts = torch.stack((values, torch.ones(50)), dim=1)
    found, wanted = statistics.figure_of_sums(controls.ratio, parts), statistics.mean_of(values)
    assert [found.value, found.low, found.high] == pytest.approx([wanted.value, wanted.low, wanted.high], abs=1e-9)


def test_pictures_without_a_figure_do_not_count():
    parts = torch.tensor([[0.5, 1.0], [0.0, 0.0], [0.7, 1.0]])
    assert statistics.figure_of_sums(controls.ratio, parts).value == pytest.approx(0.6)
    assert math.isnan(statistics.figure_of_sums(controls.ratio, torch.zeros(2, 2)).value)


# --- lines


@pytest.mark.parametrize(("column", "f1"), [(5, 1.0), (6, 1.0), (7, 0.0)])
def test_lines_may_be_one_pixel_away(column, f1):
    assert lines.edge_agreement(line_at(5), line_at(column))["F1"] == [f1, 1.0]


def test_additional_lines_cost_precision_and_missing_ones_recall():
    both = line_at(3) + line_at(10)
    more, fewer = lines.edge_agreement(line_at(3), both), lines.edge_agreement(both, line_at(3))
    assert (more["precision"], more["recall"]) == ([16.0, 32.0], [16.0, 16.0])
    assert (fewer["precision"], fewer["recall"]) == ([16.0, 16.0], [16.0, 32.0])
    assert more["F1"] == fewer["F1"] == [pytest.approx(2 / 3), 1.0]
    assert lines.edge_agreement(0 * both, 0 * both)["F1"] == [0.0, 0.0]


def test_depth_error_and_order():
    ramp = torch.linspace(0, 1, 32).expand(1, 3, 32, 32)
    same, inverse = lines.depth_agreement(ramp, ramp), lines.depth_agreement(ramp, 1 - ramp)
    assert same["RMSE"] == [0.0, 1.0]
    assert same["order"][0] == same["order"][1] > 1500
    assert inverse["order"][0] == 0
    assert lines.gray_error(ramp, ramp * 0)[0] == pytest.approx(float(ramp.square().mean().sqrt()))
    # A monotonic change keeps the order.
    assert lines.depth_agreement(ramp, ramp**2)["order"] == same["order"]


# --- segmentation


def test_classes_are_read_from_their_colours():
    ids = torch.arange(183).repeat(2, 1)
    image = segmentation.paint(ids[None])
    assert torch.equal(overlap.labels_of(image), ids)
    assert int(overlap.labels_of(torch.full((1, 3, 1, 1), 48 / 255))) == 0


def test_mean_iou_is_that_of_the_confusion_over_all_pictures():
    generator = torch.Generator().manual_seed(1)
    asked, found = torch.randint(0, 4, (2, 5, 20, 20), generator=generator)
    parts = torch.stack([overlap.class_areas(*pair) for pair in zip(asked, found, strict=True)]).double()
    counted = asked > 0
    each = [
        ((asked == name) & (found == name)).sum().item() / ((asked == name) | (found == name))[counted].sum().item()
        for name in (1, 2, 3)
    ]
    total = parts.sum(dim=0, keepdim=True)
    assert float(overlap.mean_class_iou(total)) == pytest.approx(np.mean(each))
    shares = overlap.class_iou(total)[0]
    assert shares[:3].tolist() == pytest.approx(each)
    assert bool(shares[3:].isnan().all())


# --- poses


def bodies(*offsets: tuple[float, float]) -> torch.Tensor:
    body = [(128 + 9 * (place % 5), 30 + 11 * place) for place in range(18)]
    people = tuple(keypoints.Person(tuple((x + dx, y + dy) for x, y in body)) for dx, dy in offsets)
    return pose.draw_poses(keypoints.Poses((256, 512), (people,)))


def test_joints_are_read_where_they_were_drawn():
    found = joints.read_joints(bodies((0, 0), (200, 0)))
    for place, points in enumerate(found):
        wanted = torch.tensor([[128.0 + 9 * (place % 5) + dx, 30.0 + 11 * place] for dx in (0, 200)])
        # Later discs hide parts of earlier ones.
        assert points.shape == (2, 2)
        assert (points - wanted).abs().max() < 2.5


def test_a_moved_body_loses_joints_and_similarity():
    still, moved = (joints.pose_agreement(bodies((0, 0)), bodies((shift, 0))) for shift in (0, 60))
    assert still == {"PCK": [18.0, 18.0], "OKS": [pytest.approx(1.0), 1.0]}
    assert moved["PCK"] == [0.0, 18.0]
    assert moved["OKS"][0] < 0.2
    assert joints.pose_agreement(bodies((0, 0)), torch.zeros(1, 3, 256, 512))["PCK"] == [0.0, 18.0]
    assert joints.pose_agreement(torch.zeros(1, 3, 256, 512), bodies((0, 0)))["PCK"] == [0.0, 0.0]


def test_similarity_falls_with_distance_as_coco_has_it():
    def two(shift: float) -> torch.Tensor:
        wrists = {4: (100.0, 60.0 + shift), 7: (200.0, 160.0)}
        person = keypoints.Person(tuple(wrists.get(place) for place in range(18)))
        return pose.draw_poses(keypoints.Poses((256, 256), ((person,),)))

    found = joints.pose_agreement(two(0), two(12))["OKS"][0]
    # Wrists have a deviation of 0.062, doubled; the bodies' box has 100 x 100 pixels.
    assert found == pytest.approx((1 + math.exp(-(12**2) / (2 * 100 * 100 * (2 * 0.062) ** 2))) / 2, abs=1e-3)


def test_single_pixels_are_no_joints():
    drawing = torch.zeros(1, 3, 32, 32)
    drawing[0, 0, 5, 5:7] = 1.0
    assert sum(map(len, joints.read_joints(drawing))) == 0
    drawing[0, 0, 6, 5:7] = 1.0
    assert joints.read_joints(drawing)[0].tolist() == [[5.5, 5.5]]


# --- colours


def test_colour_differences_equal_scikit_image():
    pixels = noise(2, 500, 3)
    pixels[:, :20] = pixels[:, :20, :1]  # gray
    first = colours.lab_of(pixels[0])
    wanted = [color.rgb2lab(each.double().numpy()) for each in pixels]
    assert np.abs(first.numpy() - wanted[0]).max() < 0.02  # another white in the fourth digit
    found = colours.delta_e(*(torch.from_numpy(each) for each in wanted)).numpy()
    assert np.abs(found - color.deltaE_ciede2000(*wanted)).max() < 1e-6


@pytest.mark.parametrize(
    ("first", "second", "difference"),
    # Sharma, Wu & Dalal 2005, table 1.
    [
        ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
        ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0009), 7.1792),
        ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0011), 7.2195),
        ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_colour_differences_equal_the_published_table(first, second, difference):
    found = colours.delta_e(torch.tensor([first], dtype=torch.float64), torch.tensor([second], dtype=torch.float64))
    assert float(found) == pytest.approx(difference, abs=5e-5)


@pytest.mark.parametrize("side", [16, 32, 64])
def test_a_palette_agrees_with_its_own_picture(side):
    picture = noise(1, 3, 128, 192)
    asked = palette(picture, side)
    assert colours.cell_of(asked) == side
    assert colours.palette_agreement(asked, picture)["Delta E"] == [pytest.approx(0.0, abs=1e-9), 1.0]
    assert colours.palette_agreement(asked, 1 - picture)["Delta E"][0] > 3


def test_a_map_without_cells_counts_as_trained():
    assert colours.cell_of(noise(1, 3, 64, 64)) == 64
    assert colours.cell_of(torch.zeros(1, 3, 64, 64)) == 64


# --- the table, and the measures of the miniature


def test_every_condition_has_one_measure():
    assert sorted(name for row in controls.CONTROL_MEASURES for name in row.conditions) == sorted(IMAGE_CONDITIONS)


def test_the_miniature_measures_with_the_same_functions():
    drawn = measure.held_out(6)
    truth, others = measure.truth(drawn), measure.truth(measure.held_out(6, 6))
    planes = [image.movedim(-1, 1) for image in (others, truth)]
    assert torch.equal(measure.palette_l1(others, drawn), colours.palette_l1(*planes, (8, 8)))
    shown = measure.nearest(others) != drawn.background[:, None, None]
    there = scenes.labels(scenes.distances(drawn)) > 0
    assert torch.equal(overlap.mask_iou(shown, there), measure.silhouette_iou(others, drawn))
