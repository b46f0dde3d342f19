"""The errors of the adapter library."""

from __future__ import annotations

from ..common.errors import FileErrors, PackError


class AdapterError(PackError):
    """Base of this library's errors; see :class:`PackError` for the parts of its message."""


class NotAnAdapterError(AdapterError):
    """The file is not an adapter but, for example, a ControlNet, a checkpoint, a LoRA or a style adapter."""


class CorruptFileError(AdapterError):
    """The file is empty, cut short, damaged, or holds NaN or infinite weights."""


class UnsafeFileError(AdapterError):
    """The file is a pickle that asks to run code. None of it was run."""


class FamilyMismatchError(AdapterError):
    """The adapter was made for another family of diffusion models."""


class HintError(AdapterError):
    """The condition image or the mask is unusable."""


ADAPTER_FILE_ERRORS = FileErrors(damaged=CorruptFileError, unsafe=UnsafeFileError, foreign=NotAnAdapterError)
