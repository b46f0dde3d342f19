"""Show texts, warnings and progress on the running node."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import comfy.model_management
import comfy.utils
import comfy_execution.graph_utils
import latent_preview
from comfy_execution.utils import get_executing_context

_logger = logging.getLogger(__name__)
# The message that web/node_texts.js listens to.
TEXT_EVENT = "t2i_adapter.text"


def blocked(message: str) -> Any:
    """Return an output that stops ComfyUI with a message at any node that uses it."""
    return comfy_execution.graph_utils.ExecutionBlocker(message)


def warn(text: str, node_id: str | None) -> None:
    """Show a warning on a node, and log it."""
    tell(text, node_id, logging.WARNING)


def tell(text: str, node_id: str | None, level: int = logging.INFO) -> None:
    """Show a text on a node, and log it."""
    _logger.log(level, text)
    show(text, node_id)


def show(text: str, node_id: str | None) -> None:
    """Show a text on a node until the node runs again; an empty text removes the last one."""
    if node_id is None:
        return
    from server import PromptServer

    instance = getattr(PromptServer, "instance", None)  # absent when nodes run without the server
    if instance is None:
        return
    if text:
        instance.send_progress_text(text, node_id)
    # Newer pages remove progress texts when the job ends: web/node_texts.js puts them back.
    instance.send_sync(TEXT_EVENT, {"node": node_id, "text": text})


def progress(total: int = 1) -> Callable[..., None]:
    """Show a progress bar on the running node.

    Args:
        total: Number of steps.

    Returns:
        A function to call with the steps done, optionally a new total, and optionally a PIL picture to show on the
        node. It raises when the user cancels.
    """
    bar = comfy.utils.ProgressBar(total)

    def done(count: int, total: int = total, picture: Any = None) -> None:
        # Checked here because the bar is throttled, which would delay a cancel.
        comfy.model_management.throw_exception_if_processing_interrupted()
        shown = None if picture is None else ("JPEG", picture, latent_preview.MAX_PREVIEW_RESOLUTION)
        bar.update_absolute(count, total, shown)

    return done


def running_node() -> str:
    """Return the id of the running node, or an empty text outside of a run."""
    context = get_executing_context()
    return context.node_id if context is not None else ""
