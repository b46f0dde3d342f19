"""Styles in prompts: where CONDITIONING carries them, and how fused tokens take their place at the start of a run.

Speaks ComfyUI's vocabulary of dictionaries (CONDITIONING, conds) but calls nothing of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...adapter_models.style import StyleMark

# Under this key a prompt notes the styles that it carries. ComfyUI passes it along and does not read it.
STYLES = "t2i_styles"
TEXT = "c_crossattn"


def with_style(conditioning: Sequence[Any], tokens: Tensor) -> list[Any]:
    """Append a style to prompts.

    Args:
        conditioning: ComfyUI's CONDITIONING: pairs of (B, tokens, width) and a dictionary.
        tokens: (1, n, width).

    Returns:
        New pairs, all else of them kept; the given ones stay as they are.
    """
    styled = []
    for text, values in conditioning:
        own = tokens.to(text).expand(text.shape[0], -1, -1)
        mark = StyleMark(tokens, text.shape[1])
        styled.append([torch.cat([text, own], dim=1), {**values, STYLES: (*values.get(STYLES, ()), mark)}])
    return styled


def styles_of(conditioning: Sequence[Any]) -> list[Tensor]:
    """Return the different styles that prompts carry, each once, in the order of their first appearance."""
    marks = (mark for _, values in conditioning for mark in values.get(STYLES, ()))
    return list({id(mark.tokens): mark.tokens for mark in marks}.values())


def put_fused(prompts: list[Any], style: Tensor, fused: Tensor) -> bool:
    """Replace a style's tokens in a run's prompts by what the fuser made of them.

    Args:
        prompts: One of the guider's lists; its entries are replaced by changed copies.
        style: (1, n, width), the tokens as they stand in the prompts.
        fused: (1 or pictures, n, width).

    Returns:
        Whether one of the prompts carries the style.
    """
    found = False
    for number, prompt in enumerate(prompts):
        text = prompt.get("model_conds", {}).get(TEXT)
        for mark in prompt.get(STYLES, ()) if text is not None else ():
            own = text.cond[:, mark.start : mark.start + style.shape[1]]
            # ComfyUI copies the notes of a prompt with an area to one of the other side, whose text is another.
            if mark.tokens is style and own.shape[1:] == style.shape[1:] and _carries(own, style):
                replaced = {**prompt["model_conds"], TEXT: type(text)(_replaced(text.cond, mark.start, fused))}
                prompts[number] = {**prompt, "model_conds": replaced}
                found = True
    return found


def _carries(own: Tensor, style: Tensor) -> bool:
    return torch.equal(own, style.to(own).expand_as(own))


def _replaced(text: Tensor, start: int, fused: Tensor) -> Tensor:
    # A batch of prompts, a batch of pictures, or both: row i takes text and tokens i modulo their number.
    rows = torch.arange(math.lcm(text.shape[0], fused.shape[0]), device=text.device)
    text = text.index_select(0, rows % text.shape[0])
    own = fused.to(text).index_select(0, rows % fused.shape[0])
    return torch.cat([text[:, :start], own, text[:, start + own.shape[1] :]], dim=1)
