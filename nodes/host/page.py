"""What ComfyUI shows of a node that runs: texts, warnings, progress."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import comfy.model_management
import comfy.utils
import comfy_execution.graph_utils
import latent_preview
from comfy_execution.utils import get_executing_context

logger = logging.getLogger(__name__)


def blocked(message: str) -> Any:
    """Return what makes ComfyUI stop with a message at the nodes that use it."""
    return comfy_execution.graph_utils.ExecutionBlocker(message)


def warn(text: str, node_id: str | None) -> None:
    """Show a warning on a node of the page, and in the log."""
    tell(text, node_id, logging.WARNING)


def tell(text: str, node_id: str | None, level: int = logging.INFO) -> None:
    """Show a text on a node of the page, and in the log."""
    logger.log(level, text)
    from server import PromptServer

    instance = getattr(PromptServer, "instance", None)  # absent where nodes run without the server
    if instance is not None and node_id is not None:
        instance.send_progress_text(text, node_id)


def progress(total: int = 1) -> Callable[..., None]:
    """Show a progress bar on the running node.

    Args:
        total: How much there is to do.

    Returns:
        A function to call with how much is done, with how much there is if that has changed, and with a PIL picture to
        show on the node: it raises when the user cancels.
    """
    bar = comfy.utils.ProgressBar(total)

    def done(count: int, total: int = total, picture: Any = None) -> None:
        # The bar is throttled, and so would be the cancelling.
        comfy.model_management.throw_exception_if_processing_interrupted()
        shown = None if picture is None else ("JPEG", picture, latent_preview.MAX_PREVIEW_RESOLUTION)
        bar.update_absolute(count, total, shown)

    return done


def running_node() -> str:
    """Return the id of the node that runs, or nothing outside of a run."""
    context = get_executing_context()
    return context.node_id if context is not None else ""
