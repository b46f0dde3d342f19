"""Depth equals what transformers computes where it computes it, and goes on where it refuses."""

import pytest
import torch
from t2i_adapter_pack.annotators import depth
from t2i_adapter_pack.annotators.errors import AnnotatorError
from t2i_adapter_pack.annotators.networks import depth_networks, network_input, transformers_models

from . import published


def pictures(*size):
    return torch.rand(*size, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module", params=published.DEPTH)
def pair(request, tmp_path_factory):
    """Our loaded model and transformers' network with the same weights."""
    model = published.tiny_model(request.param)
    network = published.their_network(model)
    return transformers_models.load_model(model, published.saved(network, tmp_path_factory.mktemp("file"))), network


def load(key):
    model = published.tiny_model(key)
    network = published.their_network(model)
    return transformers_models.load_model(model, network.state_dict()), network


def their_depth(model, network, images):
    """Depth by transformers' own processors, flipped average of ZoeDepth included."""
    import transformers

    size = [tuple(images.shape[-2:])] * len(images)
    sizes = {"height": model.fit[0], "width": model.fit[1]}
    common = {"do_rescale": False, "return_tensors": "pt", "size": sizes, "ensure_multiple_of": model.multiple}
    if model.gives == "depth":
        processor = transformers.ZoeDepthImageProcessor()
        pixels = processor(list(images), **common)["pixel_values"]
        mirrored = network(pixels.flip(-1))
        return processor.post_process_depth_estimation(network(pixels), size, size, outputs_flipped=mirrored)
    processor = transformers.DPTImageProcessor(image_mean=model.normal[0], image_std=model.normal[1])
    pixels = processor(list(images), keep_aspect_ratio=True, **common)["pixel_values"]
    return processor.post_process_depth_estimation(network(pixels), size)


@pytest.mark.parity
@torch.no_grad()
@pytest.mark.parametrize("key", ["dpt-hybrid", "dpt-large"])
def test_dpt_at_its_own_size(key):
    loaded, network = load(key)
    images = pictures(2, 3, 64, 64)
    expected = network(images * 2 - 1).predicted_depth[:, None]
    assert float(expected.std()) > 0.01
    assert torch.allclose(depth_networks.estimate_depth(loaded, images), expected, atol=1e-5)


@pytest.mark.parity
@torch.no_grad()
def test_dpt_at_another_square_size():
    """There the class of the larger network finds its way by itself."""
    loaded, network = load("dpt-large")
    images = pictures(1, 3, 96, 96)
    expected = network(images * 2 - 1).predicted_depth[:, None]
    assert torch.allclose(depth_networks.estimate_depth(loaded, images), expected, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("key", ["dpt-hybrid", "dpt-large"])
@pytest.mark.parametrize(("row", "column"), [(0, 9), (3, 0), (2, 6)])
def test_dpt_keeps_places_in_a_wide_picture(key, row, column):
    """With attention silenced, a patch changes its own token; the neck must put it where the patch is."""
    loaded, _ = load(key)
    for name, parameter in loaded.network.named_parameters():
        if "attention.output" in name:
            parameter.zero_()
        elif ".readout_projects." in name and parameter.ndim == 2:
            parameter[:, parameter.shape[1] // 2 :] = 0
    seen = []
    coarsest = loaded.network.neck.reassemble_stage.layers[3]
    coarsest.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0][0].clone()))
    images = pictures(1, 3, 64, 160)
    depth_networks.estimate_depth(loaded, images)
    images[..., 16 * row : 16 * row + 16, 16 * column : 16 * column + 16] = 1
    depth_networks.estimate_depth(loaded, images)
    change = (seen[1] - seen[0]).abs().sum(0)
    assert change.shape == (4, 10)
    found = divmod(int(change.argmax()), 10)
    if key == "dpt-large":
        assert found == (row, column)
        assert int((change > 0).sum()) == 1
    else:  # its convolutions see their neighbours
        assert max(abs(found[0] - row), abs(found[1] - column)) <= 1


@torch.no_grad()
def test_dpt_is_left_as_it_was():
    loaded, network = load("dpt-hybrid")
    images = pictures(1, 3, 64, 64)
    depth_networks.estimate_depth(loaded, pictures(1, 3, 64, 96))
    assert torch.equal(loaded.network(images).predicted_depth, network(images).predicted_depth)
    with pytest.raises(ValueError, match="doesn't match"):
        loaded.network(pictures(1, 3, 64, 96))


@pytest.mark.parity
@torch.no_grad()
@pytest.mark.parametrize("key", ["zoedepth-nk", "depth-anything-v2-small"])
@pytest.mark.parametrize("size", [(64, 64), (90, 131), (120, 75)])
def test_depth_equals_that_of_the_published_processors(key, size):
    loaded, network = load(key)
    # Far from black and white: enlarged bytes can't overshoot, and ours neither, but their floats do.
    images = pictures(1, 3, *size) * 0.4 + 0.3
    expected = their_depth(loaded.model, network, images)[0]["predicted_depth"]
    found = depth_networks.estimate_depth(loaded, images)
    assert found.shape == (1, 1, *size)
    assert float(expected.std()) > 1e-3
    assert float((found[0, 0] - expected).abs().max()) < 1e-3 * float(expected.abs().max())


@torch.no_grad()
@pytest.mark.parametrize("size", [(64, 96), (50, 75), (33, 100)])
def test_depth_has_the_size_of_the_picture(pair, size):
    loaded, _ = pair
    found = depth_networks.estimate_depth(loaded, pictures(1, 3, *size))
    assert found.shape == (1, 1, *size)
    assert bool(torch.isfinite(found).all())
    assert float(found.min()) >= 0


@torch.no_grad()
def test_depth_can_be_normalised(pair):
    loaded, _ = pair
    found = depth_networks.estimate_depth(loaded, pictures(1, 3, 50, 75))
    mode = "zoe" if loaded.model.gives == "depth" else "midas"
    picture = depth.normalize_depth(found, mode, loaded.model.gives)
    assert picture.shape == (1, 3, 50, 75)
    near = found.argmin() if loaded.model.gives == "depth" else found.argmax()
    assert float(picture[:, :1].flatten()[near]) == 1


@torch.no_grad()
def test_pictures_of_a_batch_leave_each_other_alone(pair):
    loaded, _ = pair
    images = pictures(3, 3, 64, 64)
    images[1] = images[1] * 0.1
    alone = torch.cat([depth_networks.estimate_depth(loaded, image[None]) for image in images])
    assert torch.equal(depth_networks.estimate_depth(loaded, images), alone)


@torch.no_grad()
def test_half_precision_is_near(pair):
    loaded, _ = pair
    images = pictures(1, 3, 64, 64)
    expected = depth_networks.estimate_depth(loaded, images)
    state = {name: tensor.clone() for name, tensor in loaded.network.state_dict().items()}
    half = transformers_models.load_model(loaded.model, state)
    half.network.to(torch.bfloat16)
    found = depth_networks.estimate_depth(half, images)
    assert found.dtype == torch.float32
    assert float((found - expected).abs().mean()) < 0.1 * float(expected.abs().max())


def test_a_network_for_something_else_is_refused():
    loaded, _ = load("vitpose-base-simple")
    with pytest.raises(AnnotatorError, match="a network for depth"):
        depth_networks.estimate_depth(loaded, pictures(1, 3, 64, 64))


def test_a_picture_of_hard_edges_does_not_overshoot_where_it_is_enlarged():
    model = published.tiny_model("dpt-hybrid")
    images = torch.zeros(1, 3, 40, 40)
    images[..., 20:] = 1
    seen = network_input.prepare_pixels(model, images)
    assert seen.shape != images.shape
    black_and_white = network_input.normal_values(model, torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 1, 1))
    assert seen.min() == black_and_white.min()
    assert seen.max() == black_and_white.max()
