"""Folding: a plain convolution with the folded kernel computes what the definition says of differences."""

import pytest
import torch
from t2i_adapter_pack.annotators.networks import differences, pidinet
from torch.nn import functional

from . import others


def central(image, kernel, y, x):
    """Each neighbour less the centre."""
    return sum(kernel[dy + 1, dx + 1] * (image[y + dy, x + dx] - image[y, x]) for dy in (-1, 0, 1) for dx in (-1, 0, 1))


CLOCKWISE = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))


def angular(image, kernel, y, x):
    """Each neighbour less the next one, clockwise."""
    return sum(
        kernel[dy + 1, dx + 1] * (image[y + dy, x + dx] - image[y + ny, x + nx])
        for (dy, dx), (ny, nx) in zip(CLOCKWISE, (*CLOCKWISE[1:], CLOCKWISE[0]), strict=True)
    )


def radial(image, kernel, y, x):
    """The pixel two steps away less the one on the way to it; the published weights leave out the first of the nine."""
    directions = sorted((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx)
    return sum(
        weight * (image[y + 2 * dy, x + 2 * dx] - image[y + dy, x + dx])
        for weight, (dy, dx) in zip(kernel.flatten()[1:], directions, strict=True)
    )


def vanilla(image, kernel, y, x):
    return (image[y - 1 : y + 2, x - 1 : x + 2] * kernel).sum()


DEFINITIONS = {"central": central, "angular": angular, "radial": radial, "vanilla": vanilla}


@pytest.mark.parametrize("difference", differences.DIFFERENCES, ids=lambda each: each.name)
def test_a_folded_kernel_keeps_the_definition(difference):
    torch.manual_seed(0)
    image = torch.randn(9, 8, dtype=torch.float64)
    kernel = torch.randn(1, 1, 3, 3)
    folded = differences.fold_kernel(kernel, difference).double()
    found = functional.conv2d(image[None, None], folded, padding=difference.size // 2)[0, 0]
    for y in range(2, 7):
        for x in range(2, 6):
            expected = DEFINITIONS[difference.name](image, kernel[0, 0].double(), y, x)
            assert float(found[y, x]) == pytest.approx(float(expected), abs=1e-5)


def test_differences_see_no_flat_picture():
    for difference in differences.DIFFERENCES[:3]:
        folded = differences.fold_kernel(torch.randn(5, 2, 3, 3), difference)
        assert float(folded.sum((2, 3)).abs().max()) < 1e-5


def test_the_order_of_the_differences():
    kinds = [layer.difference.name for layer in pidinet.LAYERS]
    assert kinds == ["central", "angular", "radial", "vanilla"] * 4
    assert [layer.name for layer in pidinet.LAYERS if layer.begins] == ["block2_1", "block3_1", "block4_1"]


def test_folded_weights_are_not_folded_again():
    torch.manual_seed(0)
    once = pidinet.load_pidinet(others.pidinet().state_dict())
    twice = pidinet.load_pidinet(once.state_dict())
    assert all(torch.equal(twice.state_dict()[name], tensor) for name, tensor in once.state_dict().items())


def test_loading_leaves_the_content_alone():
    tensors = others.pidinet().state_dict()
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    pidinet.load_pidinet(tensors)
    assert {name: tensor.shape for name, tensor in tensors.items()} == shapes
