"""Labels equal those of transformers' own postprocessing, as ids of COCO-Stuff."""

import pytest
import torch
from t2i_adapter_pack.annotators import segmentation
from t2i_adapter_pack.annotators.errors import AnnotatorError
from t2i_adapter_pack.annotators.networks import label_networks, transformers_models

from . import published


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    model = published.tiny_model("maskformer-coco-stuff")
    network = published.their_network(model)
    return transformers_models.load_model(model, published.saved(network, tmp_path_factory.mktemp("file"))), network


def pictures(*size):
    """Large plain fields, which random networks tell apart."""
    fields = torch.rand(size[0], 3, 4, 4, generator=torch.Generator().manual_seed(5))
    return torch.nn.functional.interpolate(fields, size=size[-2:], mode="nearest")


def test_the_ids_leave_out_what_was_never_labelled():
    assert len(label_networks.IDS) == 171
    assert sorted({*label_networks.IDS, *label_networks.NEVER_LABELLED}) == list(range(1, 183))
    missing = {segmentation.LABELS[number - 1] for number in label_networks.NEVER_LABELLED}
    assert missing == {
        *("street sign", "hat", "shoe", "eye glasses", "plate", "mirror", "window", "desk", "door"),
        *("blender", "hair brush"),
    }
    # The 80 things come first, and the first kind of stuff follows them.
    assert segmentation.LABELS[label_networks.IDS[79] - 1] == "toothbrush"
    assert segmentation.LABELS[label_networks.IDS[80] - 1] == "banner"


def their_ids(answer, size, count):
    import transformers

    process = transformers.MaskFormerImageProcessor().post_process_semantic_segmentation
    classes = torch.stack(process(answer, target_sizes=[size] * count))
    return torch.tensor(label_networks.IDS)[classes]


@pytest.mark.parity
@torch.no_grad()
def test_labels_equal_those_of_transformers(pair):
    loaded, network = pair
    images = pictures(2, 3, 64, 96)
    mean, deviation = (torch.tensor(each).view(1, 3, 1, 1) for each in loaded.model.normal)
    expected = their_ids(network(pixel_values=(images - mean) / deviation), (64, 96), 2)
    assert len(expected.unique()) > 1
    assert torch.equal(label_networks.segment(loaded, images), expected)


@pytest.mark.parity
@torch.no_grad()
def test_many_labels_equal_those_of_transformers(pair, monkeypatch):
    """Random networks see few classes; so here a random answer that has many."""
    from transformers.models.maskformer.modeling_maskformer import MaskFormerForInstanceSegmentationOutput

    torch.manual_seed(0)
    classes, masks = torch.randn(1, 20, 172) * 3, torch.randn(1, 20, 16, 24) * 3
    answer = MaskFormerForInstanceSegmentationOutput(class_queries_logits=classes, masks_queries_logits=masks)
    monkeypatch.setattr(pair[0].network, "forward", lambda pixel_values: answer)
    expected = their_ids(answer, (61, 95), 1)
    assert len(expected.unique()) > 5
    assert torch.equal(label_networks.segment(pair[0], pictures(1, 3, 61, 95)), expected)


@torch.no_grad()
@pytest.mark.parametrize("size", [(64, 64), (50, 131), (33, 40)])
def test_labels_have_the_size_of_the_picture(pair, size):
    labels = label_networks.segment(pair[0], pictures(2, 3, *size))
    assert labels.shape == (2, *size)
    assert {*labels.unique().tolist()} <= {*label_networks.IDS}


@torch.no_grad()
def test_pictures_of_a_batch_leave_each_other_alone(pair):
    images = pictures(3, 3, 64, 64)
    alone = torch.cat([label_networks.segment(pair[0], image[None]) for image in images])
    assert torch.equal(label_networks.segment(pair[0], images), alone)


def test_a_network_for_something_else_is_refused():
    model = published.tiny_model("dpt-large")
    loaded = transformers_models.load_model(model, published.their_network(model).state_dict())
    with pytest.raises(AnnotatorError, match="a network for segmentation"):
        label_networks.segment(loaded, pictures(1, 3, 64, 64))
