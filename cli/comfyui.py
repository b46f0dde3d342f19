"""Find ComfyUI and make it importable; everything else that uses it is in ``nodes/host/``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from ..training.errors import TrainingError

LANDMARKS = ("comfy/sd.py", "folder_paths.py", "main.py")
# Variable set by `accelerate launch --cpu`.
USE_CPU = "ACCELERATE_USE_CPU"


def find(named: str | None, environ: Mapping[str, str], pack: Path) -> Path:
    """Return ComfyUI's folder.

    Args:
        named: The user's choice; if None, COMFYUI_PATH, else the ComfyUI that the pack is installed in.
        environ: Environment variables.
        pack: The pack's folder.

    Raises:
        TrainingError: ComfyUI is not there.
    """
    chosen = named or environ.get("COMFYUI_PATH")
    folder = Path(chosen).expanduser().absolute() if chosen else pack.parent.parent
    if not all((folder / mark).is_file() for mark in LANDMARKS):
        raise TrainingError(
            "comfyui",
            str(folder) if chosen else f"the pack in {pack.parent}, which is no custom_nodes folder of a ComfyUI",
            "ComfyUI's folder, the one with main.py",
            "Give it with --comfyui or the variable COMFYUI_PATH.",
            says="ComfyUI was not found.",
        )
    return folder


def wants_cpu(asked: bool, environ: Mapping[str, str]) -> bool:
    """Return whether to compute on the CPU, by the user's choice or because there is no GPU."""
    if asked or environ.get(USE_CPU, "").lower() in ("1", "true", "yes"):
        return True
    gpus = (torch.cuda, torch.xpu, torch.backends.mps)
    return not any(gpu.is_available() for gpu in gpus)


def use(folder: Path, cpu: bool) -> None:
    """Make ComfyUI importable, and set its device before it detects one.

    Args:
        folder: ComfyUI's folder.
        cpu: Compute on the CPU.
    """
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    from comfy.cli_args import args

    args.cpu = cpu
