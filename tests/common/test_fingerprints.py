"""Marks of a tensor's numbers: they change with whatever is written into it, by whomever."""

import time

import numpy as np
import pytest
import torch
from t2i_adapter_pack.common.fingerprints import COLUMNS, fingerprint, weights_fingerprint

from ..adapter_models import engine


def invert(values):
    values.copy_(1 - values)


def write_through_numpy(values):
    values.numpy()[..., 5] = 0.25


def write_through_another_view(values):
    values.detach().movedim(-1, 1)[0, 0, 3, 3] = 0.75


def write_in_inference_mode(values):
    with torch.inference_mode():
        values.mul_(0.5)


def change_the_last_bit_of_one_number(values):
    values.view(torch.int32)[-1, -1, -1, -1] ^= 1


WRITES = {
    "inverted": invert,
    "numpy": write_through_numpy,
    "another view": write_through_another_view,
    "inference mode": write_in_inference_mode,
    "one bit": change_the_last_bit_of_one_number,
    "upside down": lambda values: values.copy_(values.flip(1)),
    "mirrored": lambda values: values.copy_(values.flip(2)),
    "other order of colours": lambda values: values.copy_(values.flip(3)),
    "other order of pictures": lambda values: values.copy_(values.flip(0)),
    "moved by a pixel": lambda values: values.copy_(values.roll(1, 2)),
    "moved by a row": lambda values: values.copy_(values.roll(1, 1)),
    "NaN": lambda values: values[0, 0, 0, 0].fill_(float("nan")),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("inference", [False, True], ids=["", "inference tensor"])
def test_every_way_to_write_changes_it(write, inference):
    with torch.inference_mode(inference):
        image = torch.rand(2, 96, 130, 8, generator=torch.Generator().manual_seed(1))
        before = fingerprint(image)
        assert fingerprint(image) == before
        write(image)
        assert fingerprint(image) != before


TYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.uint8, torch.bool]


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3,), (5, 7), (2, 33, 17, 3), (COLUMNS, 9)])
def test_any_type_and_size_is_read_to_its_last_number(dtype, shape):
    values = (torch.rand(shape) > 0.5).to(dtype)
    before = fingerprint(values)
    assert len(before) == 16
    assert fingerprint(values.clone()) == before
    if values.numel():
        values.view(-1)[-1] = 1 - values.view(-1)[-1].to(torch.uint8)
        assert fingerprint(values) != before


@pytest.mark.parametrize("first", range(9))
def test_a_view_that_begins_anywhere_is_read(first):
    bytes_ = torch.from_numpy(np.random.default_rng(0).integers(0, 256, 64, np.uint8))
    for view in (bytes_[first:], bytes_[first::2]):
        before = fingerprint(view)
        assert before == fingerprint(view.clone())
        bytes_[first] ^= 1
        assert fingerprint(view) != before


def test_the_shape_and_the_type_count():
    zeros = torch.zeros(4, 6)
    others = (zeros.view(6, 4), zeros.view(torch.int32), zeros.half())
    assert fingerprint(zeros) not in [fingerprint(other) for other in others]


def test_a_picture_of_1024_pixels_takes_less_than_a_millisecond():
    image = torch.rand(1, 1024, 1024, 3)
    for view in (image, image.movedim(-1, 1)):
        times = []
        for _ in range(100):
            begun = time.perf_counter()
            fingerprint(view)
            times.append(time.perf_counter() - begun)
        # The least of them: other programs share the processor.
        assert min(times) < 1e-3


def test_features_are_computed_again_from_a_picture_that_was_written_into():
    applied, image = engine.adapter(), torch.rand(1, 64, 64, 3)
    forwards = engine.Forwards(applied)

    def features(values):
        hint = values.movedim(-1, 1)
        wanted = {"device": engine.CPU, "dtype": torch.float32, "source": values}
        ready = applied.has_features(hint, 1, (64, 64), "crop", dtype=torch.float32, source=values)
        return ready, applied.features(hint, 1, (64, 64), "crop", **wanted).levels

    old = features(image)[1]
    image.numpy()[:] = 1 - image.numpy()
    ready, new = features(image)
    assert not ready
    expected = features(image.clone())[1]
    assert all(torch.equal(level, other) for level, other in zip(new, expected, strict=True))
    assert not torch.equal(new[0], old[0])
    assert features(image)[0]
    assert forwards.batches == [1, 1, 1]
    # What was computed from the old numbers is not kept beside it.
    assert applied.cache.nbytes == sum(level.nbytes for level in new)


def test_pictures_that_are_not_wanted_may_change():
    applied, hint = engine.adapter(), engine.pictures(4)
    forwards = engine.Forwards(applied)
    for _ in range(2):
        applied.features(hint, 2, (64, 64), "crop", device=engine.CPU, dtype=torch.float32)
        hint[3] = 0
    assert forwards.batches == [2]


def test_a_glance_tells_weights_apart():
    weights = [torch.randn(300, 70, generator=torch.Generator().manual_seed(1)), torch.ones(5), torch.zeros(0)]
    known = weights_fingerprint(weights)
    assert weights_fingerprint([weight.clone() for weight in weights]) == known
    # Of low rank, as a LoRA: it changes all of a weight.
    low = torch.linspace(0.1, 1, 300)[:, None] * torch.linspace(1, 2, 70)[None] * 1e-3
    assert weights_fingerprint([weights[0] + low, *weights[1:]]) != known
    assert weights_fingerprint([weights[0], weights[1] * 1.001, weights[2]]) != known
    assert weights_fingerprint([weights[0].half(), *weights[1:]]) == weights_fingerprint(
        [weights[0].half().float(), *weights[1:]]
    )
