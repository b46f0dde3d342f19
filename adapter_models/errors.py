"""Errors of the adapter library: each says where it happened, what was got, what was expected, and the fix."""

from __future__ import annotations


class AdapterError(ValueError):
    """A problem that the user can act on.

    The message reads ``where: got X; expected Y. Fix``. The parts stay readable on the instance, so that a caller can
    rephrase them without parsing text.

    Args:
        where: The file, node or argument that is concerned.
        got: What was found there.
        expected: What would have been right.
        fix: A full sentence: what the user can do about it.
    """

    # ComfyUI's page puts an error's module before its message; the real one begins with the pack's path on disk.
    __module__ = "t2i_adapter"

    def __init_subclass__(cls, **kwargs: object) -> None:
        """Let every kind of it be shown so."""
        super().__init_subclass__(**kwargs)
        cls.__module__ = AdapterError.__module__

    def __init__(self, where: str, got: str, expected: str, fix: str = "") -> None:
        self.where = where
        self.got = got
        self.expected = expected
        self.fix = fix
        super().__init__(f"{where}: got {got}; expected {expected}. {fix}".rstrip())


class NotAnAdapterError(AdapterError):
    """The file holds something else: a ControlNet, a checkpoint, a LoRA, a style adapter."""


class CorruptFileError(AdapterError):
    """The file is empty, cut short, damaged, or holds NaN or infinite weights."""


class UnsafeFileError(AdapterError):
    """The file is a pickle that asks for code to be run. Nothing of it was run."""


class FamilyMismatchError(AdapterError):
    """The adapter and the diffusion model do not belong together."""


class HintError(AdapterError):
    """The condition image or the mask can't be used."""
