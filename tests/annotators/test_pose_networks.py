"""Joints equal those of transformers' own processor, and fall where the heat is."""

import pytest
import torch
from t2i_adapter_pack.annotators.errors import AnnotatorError
from t2i_adapter_pack.annotators.networks import pose_networks, transformers_models

from . import published


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    model = published.tiny_model("vitpose-base-simple")
    network = published.their_network(model)
    return transformers_models.load_model(model, published.saved(network, tmp_path_factory.mktemp("file"))), network


def pictures(*size):
    return torch.rand(*size, generator=torch.Generator().manual_seed(5))


def spots(places, size=(64, 48), sigma=2.0):
    """Heat maps with a Gaussian at each place (x, y) in cells: (1, K, h, w)."""
    y, x = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    maps = [torch.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * sigma**2)) for px, py in places]
    return torch.stack(maps)[None].float()


def test_a_peak_is_found_between_the_cells():
    places = [(10.3, 20.7), (5.0, 7.5), (40.25, 60.0), (24.49, 31.51)]
    found, scores = pose_networks.peaks(spots(places))
    assert float((found[0] - torch.tensor(places)).abs().max()) < 0.05
    assert bool((scores > 0.9).all())


def test_a_flat_map_is_no_accident():
    found, scores = pose_networks.peaks(torch.zeros(1, 2, 64, 48))
    assert bool(torch.isfinite(found).all())
    assert float(scores.max()) == 0


@pytest.mark.parity
def test_peaks_equal_those_of_transformers():
    from transformers.models.vitpose import image_processing_vitpose as theirs

    torch.manual_seed(0)
    heat = spots(torch.rand(17, 2) * torch.tensor([47.0, 63.0])) + spots(torch.rand(17, 2) * 40) * 0.5
    coords, scores = theirs.get_keypoint_predictions(heat.numpy())
    expected = theirs.post_dark_unbiased_data_processing(coords, heat.numpy(), kernel=11)
    found, found_scores = pose_networks.peaks(heat)
    assert float((found - torch.from_numpy(expected)).abs().max()) < 1e-3
    assert torch.equal(found_scores, torch.from_numpy(scores)[..., 0])


BOXES = torch.tensor([[60.0, 50.0, 30.0, 60.0], [40.0, 70.0, 50.0, 20.0], [70.5, 60.25, 40.0, 40.0]])


@pytest.mark.parity
@torch.no_grad()
def test_regions_equal_those_of_transformers(pair):
    import transformers

    images = pictures(1, 3, 160, 190)
    size = pair[0].model.fit
    processor = transformers.VitPoseImageProcessor(do_rescale=False, do_normalize=False)
    expected = processor(list(images), boxes=[BOXES.tolist()], return_tensors="pt")["pixel_values"]
    corners, extents = pose_networks.regions(BOXES, size[1] / size[0])
    found = pose_networks.crop(images, corners, extents, size)
    assert found.shape == expected.shape == (3, 3, 256, 192)
    assert float((found - expected).abs().max()) < 1e-3


@pytest.mark.parity
@torch.no_grad()
def test_joints_equal_those_of_transformers(pair, monkeypatch):
    """From boxes to pixels, with the network's heat replaced by maps that have one peak each."""
    import transformers

    loaded, _ = pair
    torch.manual_seed(1)
    heat = torch.cat([spots(torch.rand(17, 2) * torch.tensor([47.0, 63.0])) for _ in BOXES])
    answer = type("Answer", (), {"heatmaps": heat})()
    process = transformers.VitPoseImageProcessor().post_process_pose_estimation
    expected = torch.stack([person["keypoints"] for person in process(answer, boxes=[BOXES.tolist()])[0]])
    seen = []
    monkeypatch.setattr(loaded.network, "forward", lambda pixel_values: seen.append(pixel_values) or answer)
    (found,) = pose_networks.detect_pose(loaded, pictures(1, 3, 160, 190), [BOXES])
    assert seen[0].shape == (3, 3, 256, 192)
    assert found.shape == (3, 17, 3)
    assert float((found[..., :2] - expected).abs().max()) < 0.01


@torch.no_grad()
def test_the_network_is_asked_and_answers_in_place(pair):
    loaded, network = pair
    images = pictures(2, 3, 160, 190)
    mean, deviation = (torch.tensor(each).view(1, 3, 1, 1) for each in loaded.model.normal)
    corners, extents = pose_networks.regions(BOXES, 0.75)
    people = (pose_networks.crop(images[:1], corners, extents, (256, 192)) - mean) / deviation
    heat = network(pixel_values=people).heatmaps
    first, second = pose_networks.detect_pose(loaded, images, [BOXES, BOXES[:1]])
    assert torch.allclose(first[..., 2], heat.flatten(2).amax(-1), atol=1e-5)
    assert second.shape == (1, 17, 3)


@torch.no_grad()
def test_without_boxes_the_picture_is_the_person(pair):
    loaded, _ = pair
    images = pictures(2, 3, 120, 90)
    whole = [torch.tensor([[0.0, 0.0, 90.0, 120.0]])] * 2
    for found, expected in zip(
        pose_networks.detect_pose(loaded, images), pose_networks.detect_pose(loaded, images, whole), strict=True
    ):
        assert torch.equal(found, expected)


@torch.no_grad()
def test_nobody_is_nobody(pair):
    (found,) = pose_networks.detect_pose(pair[0], pictures(1, 3, 64, 64), [torch.zeros(0, 4)])
    assert found.shape == (0, 17, 3)


@pytest.mark.parametrize(
    "boxes",
    [
        [],
        [torch.zeros(1, 4)],
        [torch.ones(4)],
        [torch.tensor([[0.0, 0.0, -3.0, 5.0]])],
        [torch.tensor([[0.0, 0.0, float("nan"), 5.0]])],
    ],
)
def test_wrong_boxes_are_refused(pair, boxes):
    with pytest.raises(AnnotatorError, match="box"):
        pose_networks.detect_pose(pair[0], pictures(1, 3, 64, 64), boxes)
