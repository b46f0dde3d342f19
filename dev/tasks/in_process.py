"""Start the real ComfyUI inside this process, with the flags that its main.py would get."""

import importlib
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

# Names the environment variable with the flags of ComfyUI that tests run with, such as "--novram".
FLAGS = "T2I_COMFYUI_FLAGS"


def chosen_flags(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Return the flags that the environment names."""
    return shlex.split(environ.get(FLAGS, ""))


def start(comfyui: Path, base: Path, flags: Sequence[str] = (), *, cpu: bool = False) -> torch.device:
    """Make ComfyUI importable in this process, before anything imports it, as its main.py would.

    Args:
        comfyui: its folder.
        base: its base directory.
        flags: more flags of its main.py; those that its version does not know are left out.
        cpu: compute on the CPU, where the flags about a card's memory do nothing.

    Returns:
        The device that ComfyUI computes on.
    """
    sys.path.insert(0, str(comfyui))
    cli_args = importlib.import_module("comfy.cli_args")
    args = cli_args.args
    # ComfyUI reads these while it is imported. What the namespace has stays, unless a flag says otherwise.
    cli_args.parser.parse_known_args(list(flags), namespace=args)
    args.base_directory = str(base)
    args.cpu = cpu
    args.use_pytorch_cross_attention = True
    args.disable_api_nodes = True
    args.database_url = "sqlite:///:memory:"
    # As main.py does: later, nodes.py puts comfy/ first on the path, which has a utils.py.
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
        management: its module ``comfy.model_management``.

    Raises:
        RuntimeError: the part of it that does this does not work here.
    """
    control = importlib.import_module("comfy_aimdo.control")
    indices = [device.index or 0 for device in _cards(management)]
    try:
        ready = control.init_devices((index, 0) for index in indices)
    except TypeError:  # older ones take no headroom
        ready = control.init_devices(iter(indices))
    if not ready:
        raise RuntimeError(
            "dynamic VRAM: got a comfy-aimdo that does not start; expected a working one. "
            "Install the one that this ComfyUI names, or use --disable-dynamic-vram."
        )
    patchers = importlib.import_module("comfy.model_patcher")
    patchers.CoreModelPatcher = patchers.ModelPatcherDynamic  # type: ignore[attr-defined]
    importlib.import_module("comfy.memory_management").aimdo_enabled = True  # type: ignore[attr-defined]


def _cards(management: Any) -> list[torch.device]:
    every = getattr(management, "get_all_torch_devices", None)
    return list(every()) if every else [management.get_torch_device()]
