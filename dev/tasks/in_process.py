"""Import the real ComfyUI into this process, with flags as for its main.py."""

import importlib
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

# Environment variable with flags for ComfyUI in tests, for example "--novram".
FLAGS = "T2I_COMFYUI_FLAGS"


def chosen_flags(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Return the flags in the environment variable."""
    return shlex.split(environ.get(FLAGS, ""))


def start(comfyui: Path, base: Path, flags: Sequence[str] = (), *, cpu: bool = False) -> torch.device:
    """Make ComfyUI importable and configure it as its main.py would; call it before any import of ComfyUI.

    Args:
        comfyui: ComfyUI's folder.
        base: Its base directory.
        flags: More flags of main.py; flags unknown to this version are ignored.
        cpu: Compute on the CPU; flags about GPU memory have no effect there.

    Returns:
        The device that ComfyUI computes on.
    """
    sys.path.insert(0, str(comfyui))
    cli_args = importlib.import_module("comfy.cli_args")
    args = cli_args.args
    # ComfyUI reads these on import. Values in the namespace stay unless a flag changes them.
    cli_args.parser.parse_known_args(list(flags), namespace=args)
    args.base_directory = str(base)
    args.cpu = cpu
    args.use_pytorch_cross_attention = True
    args.disable_api_nodes = True
    args.database_url = "sqlite:///:memory:"
    # Imported now, as in main.py: nodes.py later puts comfy/ first on the path, and comfy/ has a utils.py.
    importlib.import_module("utils.extra_config")
    dynamic = not cpu and getattr(cli_args, "enables_dynamic_vram", lambda: False)()
    if dynamic:  # before a CUDA context exists
        importlib.import_module("comfy_aimdo.control").init()
    management = importlib.import_module("comfy.model_management")
    if dynamic and management.is_nvidia():
        enable_dynamic_vram(management)
    device: torch.device = management.get_torch_device()
    return device


def enable_dynamic_vram(management: Any) -> None:
    """Let models stream their weights, as ComfyUI does by default on NVIDIA cards.

    Args:
        management: The module ``comfy.model_management``.

    Raises:
        RuntimeError: comfy-aimdo does not work on this machine.
    """
    control = importlib.import_module("comfy_aimdo.control")
    indices = [device.index or 0 for device in _cards(management)]
    try:
        ready = control.init_devices((index, 0) for index in indices)
    except TypeError:  # older versions take no headroom
        ready = control.init_devices(iter(indices))
    if not ready:
        raise RuntimeError(
            "dynamic VRAM: comfy-aimdo does not start; expected it to. "
            "Install the version in ComfyUI's requirements, or use --disable-dynamic-vram."
        )
    patchers = importlib.import_module("comfy.model_patcher")
    patchers.CoreModelPatcher = patchers.ModelPatcherDynamic  # type: ignore[attr-defined]
    importlib.import_module("comfy.memory_management").aimdo_enabled = True  # type: ignore[attr-defined]


def _cards(management: Any) -> list[torch.device]:
    every = getattr(management, "get_all_torch_devices", None)
    return list(every()) if every else [management.get_torch_device()]
