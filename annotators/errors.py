"""Errors of the annotators: each says where it happened, what was got, what was expected, and the fix."""

from __future__ import annotations


class AnnotatorError(ValueError):
    """A problem that the user can act on.

    The message reads ``where: got X; expected Y. Fix``. The parts stay readable on the instance.

    Args:
        where: The annotator and the argument that is concerned.
        got: What was found there.
        expected: What would have been right.
        fix: A full sentence: what the user can do about it.
    """

    # ComfyUI's page puts an error's module before its message; the real one begins with the pack's path on disk.
    __module__ = "t2i_adapter"

    def __init__(self, where: str, got: str, expected: str, fix: str = "") -> None:
        self.where = where
        self.got = got
        self.expected = expected
        self.fix = fix
        super().__init__(f"{where}: got {got}; expected {expected}. {fix}".rstrip())
