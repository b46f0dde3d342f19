"""How ComfyUI's tokenizers read a prompt: parentheses weigh words, and ``embedding:`` names a file."""

from __future__ import annotations

import re

# What a backslash keeps from being read as a weight.
PARENTHESIS = re.compile(r"([()])")
# A space inside of them changes no token of CLIP, which splits letters from signs by itself; but nobody looks for a
# file, or ends the prompt, any more.
EMBEDDING = re.compile(r"embedding(?=:)")
SPECIAL = re.compile(r"<\|(?=(?:startoftext|endoftext)\|>)", re.IGNORECASE)


def literal_prompt(text: str) -> str:
    r"""Write a text as a prompt that gives the tokens of its own characters, each with weight 1.

    Args:
        text: Any text, such as ``(16:9) embedding:x a\(b``.

    Returns:
        A prompt for the text encoders of SD1.x, SD2.x and SDXL.
    """
    # With NUL the tokenizer marks an escaped parenthesis; no caption needs it.
    plain = PARENTHESIS.sub(r"\\\1", text.replace("\0", ""))
    return SPECIAL.sub("<| ", EMBEDDING.sub("embedding ", plain))
