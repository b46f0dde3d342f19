"""Find ComfyUI and make it importable. Nothing else in this folder touches `sys.path`."""

from __future__ import annotations

import importlib
import os
import sys
import types
from pathlib import Path

import torch

PACK = "t2i_adapter_pack"


def use_comfyui(path: str | None = None) -> Path:
    """Put ComfyUI first on `sys.path`, configured for the CPU if there is no GPU.

    Args:
        path: ComfyUI's folder; None for the environment variable COMFYUI_PATH.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: The folder is not ComfyUI.
    """
    folder = Path(path or os.environ.get("COMFYUI_PATH", "")).resolve()
    if not (folder / "comfy" / "ldm").is_dir():
        raise FileNotFoundError(
            f"use_comfyui: got {folder}; expected ComfyUI's folder. Set COMFYUI_PATH or pass --comfyui."
        )
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    if not torch.cuda.is_available():
        # Must be set before the first import of comfy.model_management, which selects a device on import.
        import comfy.cli_args

        comfy.cli_args.args.cpu = True
    return folder


def load_pack() -> None:
    """Make the pack importable as `t2i_adapter_pack`, unless it is already: its folder can have any name."""
    if PACK not in sys.modules:
        package = types.ModuleType(PACK)
        package.__path__ = [str(Path(__file__).resolve().parents[2])]
        sys.modules[PACK] = package


def measures(name: str) -> types.ModuleType:
    """Return a file of the evaluation command's measures, such as ``colours``."""
    load_pack()
    return importlib.import_module(f"{PACK}.cli.evaluation.{name}")
