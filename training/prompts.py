"""Join prompts of different lengths in one tensor."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def join_rows(rows: Sequence[Tensor]) -> Tensor:
    """Concatenate rows.

    Args:
        rows: Each (N, …); embeddings (N, tokens, width) may differ in their number of tokens.

    Returns:
        (sum of N, …), with the least common multiple of the numbers of tokens.
    """
    if rows[0].ndim != 3:
        return torch.cat(list(rows))
    tokens = math.lcm(*(row.shape[1] for row in rows))
    return torch.cat([_repeated(row, tokens) for row in rows])


def choose_rows(prompts: Mapping[str, Tensor], chance: float) -> dict[str, Tensor]:
    """Return one of a picture's prompts.

    Args:
        prompts: One row of each tensor for each caption.
        chance: In [0, 1); equal ranges of it choose each prompt.
    """
    return {name: rows[(place := int(chance * rows.shape[0])) : place + 1] for name, rows in prompts.items()}


def with_sizes(prompts: Mapping[str, Tensor], sizes: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Replace the last columns of prompts by those that tell sizes.

    Args:
        prompts: (B, width) by name, and others.
        sizes: (B, columns) by the same names, for some of them.
    """
    told = {name: torch.cat([prompts[name][:, : -rows.shape[1]], rows], 1) for name, rows in sizes.items()}
    return {**prompts, **told}


def same_length(
    prompts: Mapping[str, Tensor], empty: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Repeat the tokens of two sets of prompts to one length, so that one can replace the other."""
    first, second = dict(prompts), dict(empty)
    for name in prompts.keys() & empty.keys():
        if prompts[name].ndim == 3:
            tokens = math.lcm(prompts[name].shape[1], empty[name].shape[1])
            first[name], second[name] = _repeated(prompts[name], tokens), _repeated(empty[name], tokens)
    return first, second


def _repeated(rows: Tensor, tokens: int) -> Tensor:
    # Attention gives the same result for repeated tokens.
    return rows.repeat(1, tokens // rows.shape[1], 1)
