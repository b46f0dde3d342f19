"""Show texts, warnings, progress and pictures on nodes."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.utils
import comfy_execution.graph_utils
import folder_paths
import latent_preview
import torch
from comfy_execution.utils import get_executing_context
from PIL import Image
from torch import Tensor

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
    instance = None if node_id is None else _server()
    if instance is None:
        return
    if text:
        instance.send_progress_text(text, node_id)
    # Newer pages remove progress texts when the job ends: web/node_texts.js puts them back.
    instance.send_sync(TEXT_EVENT, {"node": node_id, "text": text})


def _server() -> Any:
    """Return the running server, or None where nodes run without one."""
    from server import PromptServer

    return getattr(PromptServer, "instance", None)


def save_for_page(images: Tensor) -> dict[str, list[dict[str, str]]] | None:
    """Save images where the page finds them, if a page waits for the running node.

    Args:
        images: (B, H, W, 3) in [0, 1].

    Returns:
        What a node returns as its ``ui``; None outside of a page's run, where nobody would see them.
    """
    if not running_node() or getattr(_server(), "client_id", None) is None:
        return None
    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    name = f"t2i_adapter_{uuid.uuid4().hex}"

    def save(numbered: tuple[int, Tensor]) -> dict[str, str]:
        file = f"{name}_{numbered[0]:05}.jpg"
        values = (numbered[1].float().clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
        # Not PNG, which takes many times as long; full colours, since lines and skeletons are thin.
        Image.fromarray(values).save(folder / file, quality=90, subsampling=0)
        return {"filename": file, "subfolder": "", "type": "temp"}

    with ThreadPoolExecutor() as pool:
        return {"images": list(pool.map(save, enumerate(images)))}


def show_pictures(images: Tensor, node_id: str | None) -> None:
    """Show images on another node than the running one, until that node runs again.

    Args:
        images: (B, H, W, 3) in [0, 1].
        node_id: The node's id; None outside of a graph.
    """
    context, output = get_executing_context(), None if node_id is None else save_for_page(images)
    if output is None or context is None:
        return
    told = {"node": node_id, "display_node": node_id, "output": output, "prompt_id": context.prompt_id}
    _server().send_sync("executed", told)


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
