"""Find ComfyUI and make it importable. Nothing else in this folder touches `sys.path`."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path

import torch

PACK = "t2i_adapter_pack"


def use_comfyui(path: str | None = None) -> Path:
    """Put ComfyUI first on `sys.path`, set for the CPU where there is no GPU.

    Args:
        path: ComfyUI's folder; without it, the environment variable COMFYUI_PATH.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: no ComfyUI there.
    """
    folder = Path(path or os.environ.get("COMFYUI_PATH", "")).resolve()
    if not (folder / "comfy" / "ldm").is_dir():
        raise FileNotFoundError(
            f"use_comfyui: got {folder}; expected ComfyUI's folder. Set COMFYUI_PATH or pass --comfyui."
        )
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    if not torch.cuda.is_available():
        # Must be set before anything imports comfy.model_management, which looks for a device at once.
        import comfy.cli_args

        comfy.cli_args.args.cpu = True
    return folder


def load_pack() -> None:
    """Make the pack importable as `t2i_adapter_pack`, unless it is already: its folder may be called anything."""
    if PACK not in sys.modules:
        package = types.ModuleType(PACK)
        package.__path__ = [str(Path(__file__).resolve().parents[2])]
        sys.modules[PACK] = package
