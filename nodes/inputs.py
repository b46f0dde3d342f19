"""Check input values against the node's schema: ComfyUI does not check values from links and the API."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from ..adapter_models.adapter import T2IAdapter
from ..adapter_models.combine import T2IFuser
from ..adapter_models.errors import AdapterError
from ..adapter_models.style import T2IStyleAdapter
from ..adapter_models.weights import Weights
from .advice import in_node

LINK = "Connect the output of a node that makes it."


@dataclass(frozen=True)
class Socket:
    """A socket type and the values that it accepts.

    Attributes:
        type: Name of the type on the page.
        fits: Whether a value is of the type.
        expected: Description of the type, for messages.
        fix: What to do about a wrong value, for messages.
    """

    type: str
    fits: Callable[[Any], bool]
    expected: str
    fix: str = LINK


def _is_picture(value: Any) -> bool:
    """Return whether this is a dense tensor of numbers. The nodes check shape and range."""
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.device.type == "meta":
        return False
    return not value.is_floating_point() or value.dtype.itemsize > 1


def _is_model(value: Any) -> bool:
    return all(hasattr(value, name) for name in ("clone", "model", "model_options", "get_attachment"))


def _is_conditioning(value: Any) -> bool:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        return False
    pairs = (each for each in value if isinstance(each, Sequence) and len(each) == 2)
    return sum(isinstance(text, Tensor) and isinstance(values, Mapping) for text, values in pairs) == len(value)


SOCKETS = (
    Socket("MODEL", _is_model, "a MODEL"),
    Socket("T2I_ADAPTER", lambda value: isinstance(value, T2IAdapter), "a T2I_ADAPTER", "Connect Load T2I-Adapter."),
    Socket("T2I_WEIGHTS", lambda value: isinstance(value, Weights), "T2I_WEIGHTS",
           "Connect T2I-Adapter Level Weights or T2I-Adapter Schedule."),
    Socket("T2I_STYLE_ADAPTER", lambda value: isinstance(value, T2IStyleAdapter), "a T2I_STYLE_ADAPTER",
           "Connect Load T2I Style Adapter."),
    Socket("T2I_FUSER", lambda value: isinstance(value, T2IFuser), "a T2I_FUSER", "Connect Load CoAdapter Fuser."),
    Socket("IMAGE", _is_picture, "an IMAGE (B, H, W, C) of numbers in [0, 1]"),
    Socket("MASK", _is_picture, "a MASK (B, H, W) of numbers in [0, 1]"),
    Socket("CONDITIONING", _is_conditioning, "CONDITIONING, pairs of a text's embedding and its settings"),
    Socket("COMBO", lambda value: isinstance(value, str), "one of its entries, as text", "Choose one of them."),
    Socket("STRING", lambda value: isinstance(value, str), "text", "Type a text, or connect one."),
    Socket("BOOLEAN", lambda value: isinstance(value, Real) and value in (0, 1), "on or off", "Choose one of the two."),
)  # fmt: skip


def checked(execute: Callable[..., Any]) -> Callable[..., Any]:
    """Make a node's ``execute`` check the types of its inputs first.

    ComfyUI checks widget values against the schema. Of links it compares only the names of types, and it does not
    check values that the API puts into a socket.

    Args:
        execute: The node's method, below ``@classmethod``.

    Returns:
        The method with the check. It passes numbers as Python's int and float, leaves None in optional inputs, and
        raises AdapterError for a value of another type: ``node, input: got X; expected Y. Fix``. Errors of the
        libraries get node, input and advice; see :mod:`.advice`.
    """
    signature = inspect.signature(execute)

    @functools.wraps(execute)
    def run(cls: Any, *args: Any, **kwargs: Any) -> Any:
        given = signature.bind(cls, *args, **kwargs)
        schema = cls.define_schema()
        with in_node(schema.display_name, given.arguments):
            for row in schema.inputs:
                if row.id in given.arguments and not (row.optional and given.arguments[row.id] is None):
                    where = f"{schema.display_name}, {row.id}"
                    given.arguments[row.id] = read_input(where, row, given.arguments[row.id])
            return execute(*given.args, **given.kwargs)

    return run


def read_input(where: str, row: Any, value: Any) -> Any:
    """Return a value converted to an input's type, or raise.

    Args:
        where: Node and input, for messages.
        row: The input in the schema.
        value: The value received.

    Returns:
        The value; a Python float or int for numbers.

    Raises:
        AdapterError: The value is of another type, not finite, or an integer outside the input's range.
    """
    socket_type = row.get_io_type()
    if socket_type in NUMBERS:
        return NUMBERS[socket_type](where, row, value)
    socket = next((socket for socket in SOCKETS if socket.type == socket_type), None)
    if socket is not None and not socket.fits(value):
        says = f"The input {row.id} needs {socket.expected}."
        raise AdapterError(where, shown(value), socket.expected, socket.fix, says=says)
    return value


def _read_float(where: str, row: Any, value: Any) -> float:
    number = _number(value)
    if not math.isfinite(number):
        expected, says = f"a number, usually {row.min:g} to {row.max:g}", f"The input {row.id} needs a number."
        raise AdapterError(where, shown(value), expected, _check(value), says=says)
    return number


def _read_int(where: str, row: Any, value: Any) -> int:
    number = _number(value)
    # Some are sizes in pixels: a value out of range could request more memory than exists.
    if not row.min <= number <= row.max or number != int(number):
        expected = f"a whole number from {row.min} to {row.max}"
        raise AdapterError(where, shown(value), expected, _check(value), says=f"The input {row.id} needs {expected}.")
    return int(number)


NUMBERS: dict[str, Callable[[str, Any, Any], Any]] = {"FLOAT": _read_float, "INT": _read_int}


def _number(value: Any) -> float:
    """Return a number as a float; NaN if the value is not a number or overflows."""
    if isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex():
        value = value.item()
    try:
        return float(value) if isinstance(value, Real) else math.nan
    except OverflowError:
        return math.nan


def _check(value: Any) -> str:
    return "Enter one." if value is None or isinstance(value, str) else "Check the node that makes it."


def name_error(where: str, name: object) -> str | None:
    """Check that a file's name is text, before anything runs.

    Args:
        where: The input.
        name: The value from the API; None if a link supplies it later.

    Returns:
        The error message, or None.
    """
    if name is None or isinstance(name, str):
        return None
    expected, says = "a file's name, as text", f"The input {where} needs a file's name."
    return str(AdapterError(where, shown(name), expected, "Choose one of the list.", says=says))


def shown(value: Any) -> str:
    """Describe a value for messages."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f"the text '{value}'"
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)} and type {value.dtype}"
    if isinstance(value, Real):
        number = _number(value)
        return f"{value}" if abs(number) < 1e300 or not isinstance(value, int) else "a number of hundreds of digits"
    return f"a value of type {type(value).__name__}"
