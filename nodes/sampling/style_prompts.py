"""Styles in prompts: CONDITIONING carries them, and a run replaces them by fused tokens when it starts.

It reads and writes ComfyUI's dictionaries (CONDITIONING, conds), and calls none of ComfyUI's functions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...adapter_models.errors import AdapterError, HintError
from ...adapter_models.style import StyleMark, T2IStyleAdapter
from ..loading.adapters import style_tokens

# The key of the styles that a prompt carries. ComfyUI passes it along and does not read it.
STYLE_MARKS = "t2i_styles"
_TEXT = "c_crossattn"
_APPLY_STYLE = "Apply T2I Style Adapter"


def apply_style(
    conditioning: list[Any], adapter: T2IStyleAdapter, clip_vision_output: Any, strength: float
) -> list[Any]:
    """Append the style of reference pictures to prompts.

    Args:
        conditioning: ComfyUI's CONDITIONING.
        adapter: The style adapter; ComfyUI loads it.
        clip_vision_output: ComfyUI's CLIP_VISION_OUTPUT of the reference pictures.
        strength: Factor of the style's tokens, at least 0; at 0 the prompts are returned unchanged.

    Returns:
        New prompts.

    Raises:
        AdapterError: The pictures or prompts don't fit the adapter, or the strength is out of range.
    """
    hidden = getattr(clip_vision_output, "last_hidden_state", None)
    if hidden is None:
        raise HintError(
            f"{_APPLY_STYLE}, clip_vision_output",
            f"a {type(clip_vision_output).__name__} without tokens",
            "the output of CLIP Vision Encode",
            "Use clip-vit-large-patch14.",
            says="The reference picture is not encoded for a style adapter.",
        )
    adapter.check_picture(f"{_APPLY_STYLE}, clip_vision_output", hidden)
    for text, _ in conditioning:
        adapter.check_text(f"{_APPLY_STYLE}, conditioning", text)
    if not 0.0 <= strength < float("inf"):
        raise AdapterError(
            f"{_APPLY_STYLE}, strength",
            f"{strength}",
            "0 to 10",
            "Choose one in that range.",
            says="The strength of the style is out of range.",
        )
    return conditioning if strength == 0.0 else with_style(conditioning, style_tokens(adapter, hidden) * strength)


def with_style(conditioning: Sequence[Any], tokens: Tensor) -> list[Any]:
    """Append a style to prompts.

    Args:
        conditioning: ComfyUI's CONDITIONING: pairs of (B, tokens, width) and a dictionary.
        tokens: (1, n, width).

    Returns:
        New pairs; the given ones are unchanged.
    """
    styled = []
    for text, values in conditioning:
        own = tokens.to(text).expand(text.shape[0], -1, -1)
        mark = StyleMark(tokens, text.shape[1])
        styled.append([torch.cat([text, own], dim=1), {**values, STYLE_MARKS: (*values.get(STYLE_MARKS, ()), mark)}])
    return styled


def styles_of(conditioning: Sequence[Any]) -> list[Tensor]:
    """Return the distinct styles that prompts carry, in the order of their first appearance."""
    marks = (mark for _, values in conditioning for mark in values.get(STYLE_MARKS, ()))
    return list({id(mark.tokens): mark.tokens for mark in marks}.values())


def put_fused(prompts: list[Any], style: Tensor, fused: Tensor) -> bool:
    """Replace a style's tokens in a run's prompts by the fused ones.

    Args:
        prompts: One of the guider's lists; its entries are replaced by changed copies.
        style: (1, n, width), the tokens in the prompts.
        fused: (1 or pictures, n, width).

    Returns:
        Whether one of the prompts carries the style.
    """
    found = False
    for number, prompt in enumerate(prompts):
        text = prompt.get("model_conds", {}).get(_TEXT)
        for mark in prompt.get(STYLE_MARKS, ()) if text is not None else ():
            own = text.cond[:, mark.start : mark.start + style.shape[1]]
            # ComfyUI copies the values of a prompt with an area to a prompt of the other side with another text.
            if mark.tokens is style and own.shape[1:] == style.shape[1:] and _carries(own, style):
                replaced = {**prompt["model_conds"], _TEXT: type(text)(_replaced(text.cond, mark.start, fused))}
                prompts[number] = {**prompt, "model_conds": replaced}
                found = True
    return found


def _carries(own: Tensor, style: Tensor) -> bool:
    return torch.equal(own, style.to(own).expand_as(own))


def _replaced(text: Tensor, start: int, fused: Tensor) -> Tensor:
    # Prompts, pictures or both may be a batch: row i takes text and tokens i modulo their number.
    rows = torch.arange(math.lcm(text.shape[0], fused.shape[0]), device=text.device)
    text = text.index_select(0, rows % text.shape[0])
    own = fused.to(text).index_select(0, rows % fused.shape[0])
    return torch.cat([text[:, :start], own, text[:, start + own.shape[1] :]], dim=1)
