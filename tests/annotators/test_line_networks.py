"""PiDiNet, HED and line art: equal to controlnet_aux with the same weights, and safe with wrong ones."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from t2i_adapter_pack.annotators.errors import AnnotatorError
from t2i_adapter_pack.annotators.networks import batches, hed, lineart, pidinet, winograd
from torch.nn import functional

from . import others


@dataclass(frozen=True)
class Row:
    name: str
    load: Any
    draw: Any  # (network, images) -> soft lines
    theirs: Any
    their_lines: Any
    tensors: int
    parameters: int


ROWS = {
    row.name: row
    for row in (
        Row(
            "pidinet",
            pidinet.load_pidinet,
            lambda network, images: pidinet.pidinet_edges(network, images, 0),
            others.pidinet,
            others.pidinet_lines,
            83,
            710_000,
        ),
        Row("hed", hed.load_hed, hed.hed_edges, others.hed, others.hed_lines, 37, 14_716_000),
        Row(
            "lineart", lineart.load_lineart, lineart.lineart_lines, others.lineart, others.lineart_lines, 24, 4_291_000
        ),
    )
}
THRESHOLDED = {"pidinet": pidinet.pidinet_edges, "hed": hed.hed_edges}


@pytest.fixture(scope="module", params=ROWS)
def row(request):
    return ROWS[request.param]


@pytest.fixture(scope="module")
def theirs(row):
    torch.manual_seed(0)
    return row.theirs()


@pytest.fixture(scope="module")
def ours(row, theirs):
    return row.load(theirs.state_dict())


def pictures(*size, seed=1):
    return torch.rand(*size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parity
@torch.no_grad()
@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("size", [(1, 3, 64, 96), (3, 3, 49, 35), (2, 3, 17, 40), (1, 3, 62, 63)])
def test_lines_equal_those_of_controlnet_aux(row, theirs, ours, size, fast, monkeypatch):
    # The faster convolutions are for large pictures, which would be slow here.
    monkeypatch.setattr(winograd, "LEAST_TILES", 1 if fast else 1 << 30)
    images = pictures(*size)
    expected = row.their_lines(theirs, images)
    found = row.draw(ours, images)
    assert found.shape == (size[0], 3, *size[2:])
    assert float(expected.std()) > 1e-3
    # Random weights leave lines faint; relative to how much they vary, the tolerance is as narrow as in a real picture.
    assert float((found - expected).abs().max()) < min(1e-4, 1e-3 * float(expected.std()))


@torch.no_grad()
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(1, 5, 700, 600), (1, 256, 33, 47), (1, 3, 4, 2)])
def test_large_pictures_are_normalised_as_exactly_as_small_ones(size, layout):
    """Half of it is flat, as in photographs: adding its pixels up one by one lost three digits."""
    x = pictures(*size) * 0.3
    x[..., : size[-2] // 2, :] = 0.7
    found = lineart._normalise(x.to(memory_format=layout))
    assert float((found - functional.instance_norm(x.double())).abs().max()) < 1e-5


def test_the_layout_is_the_published_one(row, theirs, ours):
    assert len(theirs.state_dict()) == row.tensors
    assert sum(tensor.numel() for tensor in theirs.parameters()) == pytest.approx(row.parameters, rel=1e-3)
    assert {*ours.state_dict()} == {*theirs.state_dict()}


@torch.no_grad()
def test_a_batch_equals_its_pictures_one_by_one(row, ours):
    images = pictures(3, 3, 40, 56)
    alone = torch.cat([row.draw(ours, image[None]) for image in images])
    assert torch.allclose(row.draw(ours, images), alone, atol=1e-6)


@torch.no_grad()
def test_a_batch_in_parts_equals_the_whole(row, ours, monkeypatch):
    images = pictures(3, 3, 40, 56)
    whole = row.draw(ours, images)
    monkeypatch.setattr(batches, "PIXELS_AT_ONCE", 1)
    assert torch.allclose(row.draw(ours, images), whole, atol=1e-6)


@torch.no_grad()
def test_the_input_stays_as_it_was(row, ours):
    images = pictures(2, 3, 32, 32)
    before = images.clone()
    lines = row.draw(ours, images)
    assert torch.equal(images, before)
    assert 0 <= float(lines.min()) <= float(lines.max()) <= 1
    # Every channel holds values of its own: a caller may paint into one.
    lines[:, 0] = 7
    assert float(lines[:, 1].max()) <= 1


@torch.no_grad()
def test_gray_and_alpha_pictures_are_taken(row, ours):
    gray = pictures(1, 1, 32, 32)
    expected = row.draw(ours, gray.repeat(1, 3, 1, 1))
    assert torch.equal(row.draw(ours, gray), expected)
    assert torch.equal(row.draw(ours, torch.cat((gray.repeat(1, 3, 1, 1), torch.ones_like(gray)), 1)), expected)


@torch.no_grad()
def test_the_order_of_colours_matters(row, ours):
    """Their weights are for RGB; a swap of red and blue must not go unnoticed."""
    images = pictures(1, 3, 32, 32)
    assert not torch.allclose(row.draw(ours, images), row.draw(ours, images.flip(1)), atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_near(row, theirs, dtype):
    network = row.load(theirs.state_dict()).to(dtype)
    images = pictures(1, 3, 32, 48)
    found = row.draw(network, images)
    assert found.dtype == torch.float32
    assert float((found - row.their_lines(theirs, images)).abs().max()) < 0.05


@torch.no_grad()
@pytest.mark.parametrize("column", [20, 24, 32])
def test_a_line_stays_in_its_column(row, ours, column):
    """With kernels that see nothing but their centre, what comes out is where it was in the picture."""
    weights = {name: centred(tensor) for name, tensor in ours.state_dict().items()}
    network = row.load(weights)
    images = torch.zeros(1, 3, 64, 64)
    images[..., column] = 1
    profile = (row.draw(network, images) - row.draw(network, torch.zeros_like(images))).abs().mean((0, 1, 2))
    assert int((profile - profile.median()).abs().argmax()) == column


def centred(tensor):
    """Weights of the same shape, positive, nothing outside the kernels' centres and no bias."""
    weights = torch.zeros_like(tensor)
    if tensor.ndim == 4:
        weights[..., tensor.shape[-2] // 2, tensor.shape[-1] // 2] = 0.2 / tensor.shape[1]
    return weights


@pytest.mark.parametrize("wrap", [lambda t: {"state_dict": t}, lambda t: {f"module.{k}": v for k, v in t.items()}])
def test_wrapped_weights_are_unwrapped(row, theirs, ours, wrap):
    found = row.load(wrap(theirs.state_dict())).state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in ours.state_dict().items())


def damage(tensors, name, kind):
    damaged = dict(tensors)
    if kind == "missing":
        del damaged[name]
    elif kind == "extra":
        damaged["another.weight"] = torch.ones(1)
    elif kind == "misshapen":
        damaged[name] = damaged[name][None]
    elif kind == "NaN":
        damaged[name] = damaged[name] * float("nan")
    elif kind == "int":
        damaged[name] = damaged[name].to(torch.int8)
    return damaged


@pytest.mark.parametrize("kind", ["missing", "extra", "misshapen", "NaN", "int"])
def test_wrong_weights_are_refused(row, theirs, kind):
    tensors = theirs.state_dict()
    name = sorted(name for name in tensors if tensors[name].ndim == 4)[-1]
    with pytest.raises(AnnotatorError) as caught:
        row.load(damage(tensors, name, kind), "my file.pth")
    named = "another.weight" if kind == "extra" else name
    assert named in str(caught.value)
    assert str(caught.value).splitlines()[1].startswith("my file.pth: got ")


@pytest.mark.parametrize("content", [{}, {"state_dict": 3}, {"epoch": 3, "model": {}}])
def test_something_else_is_refused(row, content):
    with pytest.raises(AnnotatorError, match="my file"):
        row.load(content, "my file.pth")


def test_weights_of_another_network_are_refused(row, theirs):
    for other in ROWS.values():
        if other is not row:
            with pytest.raises(AnnotatorError):
                other.load(theirs.state_dict())


@pytest.mark.parametrize("size", [(4, 64), (64, 7)])
def test_what_is_too_small_is_refused(row, ours, size):
    with pytest.raises(AnnotatorError, match="at least"):
        row.draw(ours, torch.zeros(1, 3, *size))


def test_what_memory_will_not_hold_is_refused(row, ours):
    with pytest.raises(AnnotatorError, match="megapixels"):
        # Expanded, so that the test itself holds one row only.
        row.draw(ours, torch.zeros(1, 1, 1, 2**15).expand(1, 3, 2**10, 2**15))


@torch.no_grad()
@pytest.mark.parametrize("name", THRESHOLDED)
def test_a_threshold_parts_the_soft_lines(name):
    torch.manual_seed(0)
    network = ROWS[name].load(ROWS[name].theirs().state_dict())
    images = pictures(2, 3, 32, 32)
    soft = THRESHOLDED[name](network, images, threshold=0)
    level = float(soft.median())
    assert torch.equal(THRESHOLDED[name](network, images, threshold=level), (soft > level).float())


@pytest.mark.parametrize("threshold", [-0.1, 1.0, float("nan")])
@pytest.mark.parametrize("name", THRESHOLDED)
def test_a_senseless_threshold_is_refused(name, threshold):
    with pytest.raises(AnnotatorError, match="threshold"):
        THRESHOLDED[name](None, torch.zeros(1, 3, 32, 32), threshold)
