"""The command inside the real ComfyUI, with the miniature as its checkpoint."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from ..training import datasets

ROOT = Path(__file__).absolute().parents[2]
CHECKPOINT = ROOT / "dev" / "miniature" / "weights" / "miniature.safetensors"


def learn_of_miniature() -> None:
    """Let ComfyUI recognise the miniature."""
    path = ROOT / "dev" / "miniature" / "companion" / "__init__.py"
    spec = importlib.util.spec_from_file_location("miniature_companion", path)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


@pytest.fixture(scope="session")
def miniature(comfyui: Any) -> Iterator[Path]:
    """The miniature's checkpoint, while ComfyUI knows it."""
    import comfy.supported_models

    known = list(comfy.supported_models.models)
    learn_of_miniature()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield CHECKPOINT
    torch.set_num_threads(threads)
    comfy.supported_models.models[:] = known


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of five pictures of three shapes with captions."""
    return datasets.folder(tmp_path / "pictures", datasets.members())


@pytest.fixture
def arguments(miniature: Path, pictures: Path, tmp_path: Path, comfyui_path: Path) -> Callable[..., list[str]]:
    """What makes the command's arguments: good ones, but for the changes; None leaves one out."""

    def make(**changes: Any) -> list[str]:
        values = {
            "checkpoint": miniature, "data": pictures, "condition": "canny", "size": "tiny", "resolution": 128,
            "steps": 4, "batch-size": 2, "learning-rate": 1e-3, "output": tmp_path / "runs", "name": "run", "seed": 3,
            "comfyui": comfyui_path,
            **{name.replace("_", "-"): value for name, value in changes.items()},
        }  # fmt: skip
        return [text for name, value in values.items() if value is not None for text in (f"--{name}", str(value))]

    return make


@pytest.fixture
def command(arguments: Callable[..., list[str]]) -> Callable[..., int]:
    """The command in this process; returns its exit status."""
    from t2i_adapter_pack.cli.main import main

    return lambda **changes: main(["train", *arguments(**changes)])
