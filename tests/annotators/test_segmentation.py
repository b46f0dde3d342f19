"""Segmentation colours against those read from the adapters' own example pictures, and painting."""

import pytest
import torch
from t2i_adapter_pack.annotators import segmentation
from t2i_adapter_pack.annotators.errors import AnnotatorError

# Colours of TencentARC's examples and of its data's own colouring script, with the id that they stand for.
SAMPLES = {
    "person": (1, (128, 0, 0)),
    "bicycle": (2, (0, 128, 0)),
    "car": (3, (128, 128, 0)),
    "motorcycle": (4, (0, 0, 128)),
    "cat": (17, (128, 64, 0)),
    "bowl": (51, (128, 192, 64)),
    "dining table": (67, (160, 128, 0)),
    "banner": (92, (96, 64, 128)),
    "grass": (124, (96, 64, 192)),
    "napkin": (137, None),
    "sky-other": (157, (192, 96, 128)),
    "tree": (169, None),
    "wall-other": (173, None),
    "wood": (182, (0, 224, 192)),
}
NEVER_ANNOTATED = [12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91]


@pytest.mark.parametrize("name", SAMPLES)
def test_a_class_has_its_published_id_and_colour(name):
    number, colour = SAMPLES[name]
    assert segmentation.label_id(name) == number
    if colour:
        assert segmentation.label_colour(number) == colour


def test_182_classes_have_182_names_and_colours_none_of_them_black():
    assert len(set(segmentation.LABELS)) == len(segmentation.LABELS) == 182
    colours = {segmentation.label_colour(number) for number in range(1, 183)}
    assert len(colours) == 182
    assert (0, 0, 0) not in colours
    assert segmentation.label_colour(0) == (0, 0, 0)


def test_the_things_that_were_never_annotated_are_at_their_ids():
    names = [segmentation.LABELS[number - 1] for number in NEVER_ANNOTATED]
    assert names == ["street sign", "hat", "shoe", "eye glasses", "plate", "mirror", "window", "desk", "door",
                     "blender", "hair brush"]  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_every_id_of_a_map_gets_its_colour(dtype):
    labels = torch.arange(183).view(1, 3, 61).to(dtype)
    got = (segmentation.paint(labels) * 255).round().int()
    for number in range(183):
        assert tuple(got[0, :, number // 61, number % 61].tolist()) == segmentation.label_colour(number)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (torch.tensor([[[0, 255]]]), "ids from 0 to 255; expected 0 .* to 182. .*add 1 modulo 256"),
        (torch.tensor([[[-1, 5]]]), "ids from -1 to 5"),
        (torch.zeros(1, 2, 2), "torch.float32 of shape"),
        (torch.zeros(2, 2, dtype=torch.long), r"\(2, 2\)"),
        (torch.zeros(0, 2, 2, dtype=torch.long), r"\(0, 2, 2\)"),
    ],
)
def test_what_is_no_map_of_ids_is_refused(labels, words):
    with pytest.raises(AnnotatorError, match=words):
        segmentation.paint(labels)


def half(height=8, width=8):
    mask = torch.zeros(1, height, width)
    mask[..., : width // 2] = 1
    return mask


def colour(name):
    return (torch.tensor(segmentation.label_colour(segmentation.label_id(name))) / 255).view(3, 1, 1)


def test_a_mask_paints_its_label_and_nothing_else():
    sky = segmentation.paint_mask(None, torch.ones(1, 8, 8), "sky-other")
    both = segmentation.paint_mask(sky, half(), "grass")
    assert torch.equal(both[0, :, :, :4], colour("grass").expand(-1, 8, 4))
    assert torch.equal(both[0, :, :, 4:], colour("sky-other").expand(-1, 8, 4))
    assert torch.equal(sky, colour("sky-other").expand(1, -1, 8, 8))


def test_where_nothing_is_painted_it_is_black():
    assert not segmentation.paint_mask(None, half(), "tree")[..., 4:].any()


def test_the_order_of_disjoint_masks_does_not_matter():
    left, right = half(), 1 - half()
    one = segmentation.paint_mask(segmentation.paint_mask(None, left, "sea"), right, "sand")
    other = segmentation.paint_mask(segmentation.paint_mask(None, right, "sand"), left, "sea")
    assert torch.equal(one, other)


def test_half_a_mask_counts_and_less_does_not():
    mask = torch.tensor([[[0.49, 0.5, 0.51]]])
    assert segmentation.paint_mask(None, mask, "person")[0, 0, 0].tolist() == pytest.approx([0, 128 / 255, 128 / 255])


@pytest.mark.parametrize(("pictures", "masks"), [(1, 3), (3, 1), (2, 2)])
def test_one_mask_serves_all_pictures_and_one_picture_all_masks(pictures, masks):
    canvas = torch.rand(pictures, 3, 8, 8)
    many = torch.rand(masks, 8, 8)
    got = segmentation.paint_mask(canvas, many, "cat")
    for number in range(max(pictures, masks)):
        alone = segmentation.paint_mask(canvas[number % pictures][None], many[number % masks][None], "cat")
        assert torch.equal(got[number], alone[0])


def test_a_smaller_mask_is_stretched_without_new_colours():
    got = segmentation.paint_mask(torch.zeros(1, 3, 64, 96), half(8, 12), "cat")
    assert got.flatten(2).unique(dim=-1).shape[-1] == 2
    assert (got[..., :48] > 0).any(1).all()
    assert not got[..., 48:].any()


@pytest.mark.parametrize(
    ("canvas", "mask", "label", "words"),
    [
        (torch.zeros(1, 3, 64, 96), torch.ones(1, 64, 64), "cat", "64x64; expected the proportions .* 96x64"),
        (torch.zeros(2, 3, 8, 8), torch.ones(3, 8, 8), "cat", "3 masks for 2 pictures"),
        (torch.zeros(1, 3, 8, 8), torch.ones(8, 8), "cat", r"mask: got a tensor of shape \(8, 8\)"),
        (torch.zeros(1, 3, 8, 8), torch.full((1, 8, 8), float("nan")), "cat", "mask: got NaN"),
        (torch.full((1, 3, 8, 8), 9.0), torch.ones(1, 8, 8), "cat", "canvas: got values from 9 to 9"),
        (None, torch.ones(1, 8, 8), "unicorn", "got 'unicorn'; expected one of the 182"),
    ],
    ids=["proportions", "batch", "rank", "NaN", "range", "label"],
)
def test_what_can_not_be_painted_is_refused_in_words(canvas, mask, label, words):
    with pytest.raises(AnnotatorError, match=words):
        segmentation.paint_mask(canvas, mask, label)
