"""The form of all errors: a plain sentence, then where, what was got, what was expected, and the fix."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Characters of a name or value that a message quotes; of a whole part of a message.
LONGEST_QUOTE, LONGEST_PART = 200, 2000
# Quoted text or a single word: names and values come from files and users, at any length.
_QUOTED = re.compile(r"(?<!\w)'.*?'(?!\w)|\S+", re.DOTALL)


class PackError(ValueError):
    """A problem that the user can act on; each library raises its own subclasses.

    The message is the sentence that a user understands, then, on a line of its own, the details:
    ``where: got X; expected Y. Fix``. The parts stay readable on the instance, so that a caller can rephrase them
    without parsing text. Long names and values that they quote are cut in the middle.

    Args:
        where: The file or argument concerned.
        got: What was found there.
        expected: What would have been right.
        fix: A full sentence: what the user can do about it.
        says: A full sentence in plain words: what is wrong. It begins the message.
        topic: A short identifier of the problem, by which a host finds its own advice. Libraries name no part of a
            host.
    """

    # ComfyUI's page puts an error's module before its message; the real one begins with the pack's path on disk.
    __module__ = "t2i_adapter"

    def __init_subclass__(cls, **kwargs: object) -> None:
        """Show every subclass under the same short module name."""
        super().__init_subclass__(**kwargs)
        cls.__module__ = PackError.__module__

    def __init__(self, where: str, got: str, expected: str, fix: str = "", *, says: str = "", topic: str = "") -> None:
        self.where = cut(where, LONGEST_QUOTE)
        self.got = shorten(got)
        self.expected = shorten(expected)
        self.fix = shorten(fix)
        self.says = shorten(says)
        self.topic = topic
        self.advice = ""
        details = f"{self.where}: got {self.got}; expected {self.expected}. {self.fix}".rstrip()
        super().__init__(f"{self.says}\n{details}" if says else details)

    def add_advice(self, advice: str) -> None:
        """Append a line to the message: what a host knows of the problem. Only the first call has an effect.

        Args:
            advice: Full sentences.
        """
        if not self.advice and advice:
            self.advice = shorten(advice)
            self.args = (f"{self}\n{self.advice}",)


@dataclass(frozen=True)
class FileErrors:
    """The classes of error that a library raises for weights files.

    Attributes:
        damaged: The file is missing, unreadable, empty, cut short or damaged.
        unsafe: The file is a pickle that asks to run code. None of it was run.
        foreign: The file holds no weights, or only a part of a model.
    """

    damaged: type[PackError]
    unsafe: type[PackError]
    foreign: type[PackError]


def shorten(text: str) -> str:
    """Shorten long names and values in part of a message in the middle; the ends distinguish names.

    Args:
        text: Words, with names and values in quotes or as one word.

    Returns:
        The text, unchanged if nothing in it is long.
    """
    # First cut to a length that the pattern searches quickly, whatever the text.
    text = cut(text, 2 * LONGEST_PART)
    return cut(_QUOTED.sub(lambda match: cut(match[0], LONGEST_QUOTE), text), LONGEST_PART)


def cut(text: str, longest: int) -> str:
    """Return a text of at most ``longest`` characters: itself, or its two ends."""
    half = (longest - 1) // 2
    return plain(text if len(text) <= longest else f"{text[:half]}…{text[-half:]}")


def plain(text: str) -> str:
    """Escape characters that a log or a page can't show: half a surrogate pair in a message ends ComfyUI's worker.

    Args:
        text: Any text from outside.

    Returns:
        The text, with unprintable characters except newlines as Python escapes.
    """
    return "".join(each if each.isprintable() or each == "\n" else ascii(each)[1:-1] for each in text)
