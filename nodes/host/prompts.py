"""Escape ComfyUI's prompt syntax: parentheses weight words, and ``embedding:`` names a file."""

from __future__ import annotations

import re

# A backslash before a parenthesis makes it literal.
PARENTHESIS = re.compile(r"([()])")
# A space inside these changes none of CLIP's tokens, because CLIP splits letters from signs anyway. But it keeps the
# tokenizer from looking for a file, or ending the prompt.
EMBEDDING = re.compile(r"embedding(?=:)")
SPECIAL = re.compile(r"<\|(?=(?:startoftext|endoftext)\|>)", re.IGNORECASE)


def literal_prompt(text: str) -> str:
    r"""Escape a text so that it is tokenized literally, with weight 1.

    Args:
        text: Any text, such as ``(16:9) embedding:x a\(b``.

    Returns:
        A prompt for the text encoders of SD1.x, SD2.x and SDXL.
    """
    # The tokenizer marks escaped parentheses with NUL; no caption needs it.
    plain = PARENTHESIS.sub(r"\\\1", text.replace("\0", ""))
    return SPECIAL.sub("<| ", EMBEDDING.sub("embedding ", plain))
