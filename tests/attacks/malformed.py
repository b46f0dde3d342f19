"""Malformed values, and calls of nodes as ComfyUI's executor makes them."""

from __future__ import annotations

import math
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

LONG = "x" * 100_000


@dataclass(frozen=True)
class Value:
    """A value and its name."""

    name: str
    value: Any


def endless() -> list[Any]:
    """A list that contains itself."""
    values: list[Any] = []
    values.append(values)
    return values


def numbers() -> Iterator[Value]:
    for number in (math.nan, math.inf, -math.inf, 1e30, -1e30, 1e308, 5e-324, -1, -0.0, 1.5, 10**30, -(10**400), True):
        yield Value(f"{type(number).__name__} {str(number)[:8]}", number)
    yield Value("numpy float32", np.float32(0.5))
    yield Value("numpy NaN", np.float64("nan"))
    yield Value("numpy int", np.int64(-3))
    yield Value("complex", 1j)
    yield Value("tensor of one", torch.tensor(0.5))


def texts() -> Iterator[Value]:
    for text in ("", "1.5", "nan", "../../etc/passwd", "a\0b", "\ud800", "{}", "uniform ", "auto "):
        yield Value(f"text {text.encode('unicode_escape').decode()}", text)
    yield Value("long text", LONG)
    yield Value("bytes", b"auto")


def things() -> Iterator[Value]:
    yield Value("None", None)
    for thing in ([], [1], ["a", 1], [None], [[]], [{}], {}, {"a": 1}, {1: 2}, (), set(), object(), len, dict):
        yield Value(f"{type(thing).__name__} {str(thing)[:12]}", thing)
    yield Value("endless list", endless())
    yield Value("generator", (number for number in ()))
    yield Value("namespace", types.SimpleNamespace(model=None, clone=None, last_hidden_state=None))
    yield Value("points", {"points": [["a", None]], "interpolation": 3})
    yield Value("NaN points", {"points": [[math.nan, math.inf]] * 3})
    yield Value("people", [{"people": [{"pose_keypoints_2d": [math.nan] * 54}], "canvas_width": 1e30}])
    yield Value("strange people", [{"people": {"a": 1}, "canvas_width": "x", "canvas_height": []}])
    yield Value("boxes", [[{"x": math.nan, "y": "a", "width": -1, "height": 1e30}]])
    yield Value("NaN boxes", [[{"x": math.nan, "y": math.inf, "width": math.nan, "height": -math.inf}]])
    yield Value("preset", {"preset": "no such"})
    yield Value("custom preset", {"preset": "custom", "level_1": "a", "level_2": None})
    yield Value("NaN preset", {"preset": "custom", "level_1": math.nan})
    yield Value("huge preset", {"preset": "custom", "level_1": 1e308, "level_2": 10**400})


def tensors() -> Iterator[Value]:
    picture = torch.rand(1, 32, 32, 3, generator=torch.Generator().manual_seed(0))
    for shape in ((0, 32, 32, 3), (1, 0, 32, 3), (1, 32, 32, 0), (1, 32, 32, 7), (1, 1, 1, 3), (32, 32, 3), (32, 32),
                  (3,), (), (1, 2, 32, 32, 3), (0,), (1, 1, 4000, 3)):  # fmt: skip
        yield Value(f"tensor {shape}", torch.zeros(shape))
    for number in (math.nan, math.inf, -1.0, 255.0, 1e38):
        yield Value(f"tensor of {number}", torch.full((1, 32, 32, 3), number))
    spoiled = picture.clone()
    spoiled[0, 3, 3, 0] = math.nan
    yield Value("one NaN", spoiled)
    for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.uint8, torch.int64, torch.bool, torch.complex64,
                  torch.float8_e4m3fn):  # fmt: skip
        yield Value(f"tensor {dtype}", picture.to(dtype))
        yield Value(f"mask {dtype}", picture[..., 0].to(dtype))
    yield Value("sparse tensor", picture.to_sparse())
    yield Value("tensor without data", torch.zeros(1, 32, 32, 3, device="meta"))
    yield Value("array", picture.numpy())
    yield Value("tensor that learns", picture.clone().requires_grad_())
    yield Value("tensor behind tensor", picture.transpose(1, 2).flip(1))


def all_values() -> list[Value]:
    """List them all."""
    return [*things(), *numbers(), *texts(), *tensors()]


def execute(node: Any, inputs: dict[str, Any]) -> Any:
    """Call a node as ComfyUI does after collecting its input values."""
    hidden = {"hidden_inputs": {}}
    clone = node.PREPARE_CLASS_CLONE(hidden)
    with torch.inference_mode():
        return getattr(clone, node.FUNCTION)(**inputs)
