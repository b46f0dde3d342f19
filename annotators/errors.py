"""Errors of the annotators: each says where it happened, what was got, what was expected, and the fix."""

from __future__ import annotations

import re

# Characters of a name or value that a message quotes; of a whole part of a message.
LONGEST_QUOTE, LONGEST_PART = 200, 2000
# What stands in quotes, or is one word: names of tensors and files, and values, come from outside.
QUOTED = re.compile(r"(?<!\w)'.*?'(?!\w)|\S+", re.DOTALL)


class AnnotatorError(ValueError):
    """A problem that the user can act on.

    The message reads ``where: got X; expected Y. Fix``. The parts stay readable on the instance. What they quote
    of names and values is cut in its middle where it is long.

    Args:
        where: The annotator and the argument that is concerned.
        got: What was found there.
        expected: What would have been right.
        fix: A full sentence: what the user can do about it.
    """

    # ComfyUI's page puts an error's module before its message; the real one begins with the pack's path on disk.
    __module__ = "t2i_adapter"

    def __init__(self, where: str, got: str, expected: str, fix: str = "") -> None:
        self.where = cut(where, LONGEST_QUOTE)
        self.got = shorten(got)
        self.expected = shorten(expected)
        self.fix = shorten(fix)
        super().__init__(f"{self.where}: got {self.got}; expected {self.expected}. {self.fix}".rstrip())


def shorten(text: str) -> str:
    """Cut the long names and values in a part of a message, each in its middle: both ends tell names apart.

    Args:
        text: Words, with names and values in quotes or as one word.

    Returns:
        The same text where nothing in it is long.
    """
    # First to a length that can be searched quickly, whatever is in it.
    text = cut(text, 2 * LONGEST_PART)
    return cut(QUOTED.sub(lambda match: cut(match[0], LONGEST_QUOTE), text), LONGEST_PART)


def cut(text: str, longest: int) -> str:
    """Return a text of at most ``longest`` characters: itself, or its two ends."""
    half = (longest - 1) // 2
    return text if len(text) <= longest else f"{text[:half]}…{text[-half:]}"
