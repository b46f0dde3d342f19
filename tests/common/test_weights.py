"""The check of weights, with the error and the advice of each library."""

import math

import pytest
import torch
from t2i_adapter_pack.adapter_models.loading import ADAPTER_WEIGHTS_CHECK as OF_ADAPTERS
from t2i_adapter_pack.annotators.weights import ANNOTATOR_WEIGHTS_CHECK as OF_ANNOTATORS

BOTH = pytest.mark.parametrize("check", [OF_ADAPTERS, OF_ANNOTATORS], ids=["adapters", "annotators"])
SHAPES = {"a": (2, 3), "b": (4,)}


@BOTH
@pytest.mark.parametrize(
    ("got", "words"),
    [
        ({"a": (2, 3)}, r"file: got b missing; expected \[4\] in a network\."),
        ({**SHAPES, "b": (5,)}, r"file: got b \[5\]; expected \[4\] in a network\."),
        ({**SHAPES, "c": (1,)}, r"file: got c \[1\]; expected no such weights in a network\."),
    ],
    ids=["missing", "another shape", "left over"],
)
def test_other_weights_are_refused_by_name(check, got, words):
    check.shapes("file", "a network", SHAPES, SHAPES)
    with pytest.raises(check.error, match=words) as caught:
        check.shapes("file", "a network", got, SHAPES)
    assert caught.value.fix == check.fix


@BOTH
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e5m2])
def test_bad_numbers_are_counted_in_every_precision(check, dtype):
    good = {"a": torch.ones(4, 4).to(dtype), "none": torch.zeros(0)}
    check.numbers("file", good)
    bad = torch.ones(4, 4)
    bad[0, 1], bad[2, 3] = math.nan, math.inf
    with pytest.raises(check.error, match="got 2 NaN or infinite numbers in b; expected finite weights") as caught:
        check.numbers("file", {**good, "b": bad.to(dtype)})
    assert caught.value.fix == check.fix


@BOTH
def test_whole_numbers_are_refused(check):
    with pytest.raises(check.error, match=r"got a of type torch\.int64; expected floating-point weights"):
        check.numbers("file", {"a": torch.arange(3)})


@BOTH
def test_a_sum_that_overflows_is_no_fault(check):
    check.numbers("file", {"a": torch.full((4,), 3e38)})
    check.numbers("file", {})
