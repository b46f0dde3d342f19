"""Memory for time: parts of a network whose inside is computed again in the backward pass instead of being kept."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator

from torch import nn
from torch.utils.checkpoint import checkpoint


@contextlib.contextmanager
def recomputing(blocks: Iterable[nn.Module]) -> Iterator[None]:
    """Have blocks keep their inputs alone of a forward, and compute the rest again in its backward.

    Gradients are the same, bit for bit where the blocks' operations are deterministic. Only the forward has to happen
    inside. Afterwards the blocks are as they were, also after an error.

    Args:
        blocks: Modules none of which lies in another, without randomness (dropout) in them.
    """
    with contextlib.ExitStack() as stack:
        for block in blocks:
            # On the instance, where it hides the class's own: whoever calls the block need not know.
            stack.callback(_put_back, block, block.__dict__.get("forward"))
            block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)
        yield


def _put_back(block: nn.Module, forward: object) -> None:
    if forward is None:
        del block.forward
    else:
        block.__dict__["forward"] = forward
