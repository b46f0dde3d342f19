"""Prepare a folder for ComfyUI's --base-directory, so that no ComfyUI folder, ours or the user's, is written to."""

import json
import struct
from pathlib import Path

from . import links, paths

FOLDERS = ("custom_nodes", "input", "output", "temp", "user", "models/checkpoints", "models/controlnet")
# Model folders of the user's own ComfyUI that are added to ours: (ComfyUI's folder key, folder).
MODEL_FOLDERS = (
    ("checkpoints", "checkpoints"),
    ("clip_vision", "clip_vision"),
    ("controlnet", "controlnet"),
    ("controlnet", "t2i_adapter"),
    ("loras", "loras"),
    ("style_models", "style_models"),
    ("vae", "vae"),
)
CHECKPOINT_PREFIX = "model.diffusion_model."


def prepare(base: Path, comfyui: Path) -> Path:
    """Make or refresh a base directory: the pack, its companion, the miniature's weights.

    Args:
        base: the folder to make.
        comfyui: ComfyUI's folder; its own models are listed too.

    Returns:
        base.
    """
    for name in FOLDERS:
        (base / name).mkdir(parents=True, exist_ok=True)
    links.link(paths.ROOT, base / "custom_nodes" / paths.PACK_NAME)
    companion = paths.ROOT / "dev" / "miniature" / "companion"
    if (companion / "__init__.py").is_file():
        links.link(companion, base / "custom_nodes" / paths.COMPANION_NAME)
    for weights in sorted(paths.WEIGHTS.glob("*.safetensors")):
        offer(weights, base)
    extra_models(base).write_text(json.dumps(model_folders(comfyui), indent=1), encoding="utf-8")
    return base


def offer(weights: Path, base: Path) -> str:
    """Link a model file into the folder where its loader looks.

    Args:
        weights: a checkpoint or adapter file.
        base: a base directory.

    Returns:
        The name under which ComfyUI lists it.
    """
    folder = "checkpoints" if is_checkpoint(weights) else "controlnet"
    links.link(weights.absolute(), base / "models" / folder / weights.name)
    return weights.name


def is_checkpoint(weights: Path) -> bool:
    """Return whether a file is a whole model: by its tensor names, or by its size if it is a pickle."""
    if weights.suffix != ".safetensors":
        return weights.stat().st_size > 1_500_000_000
    with weights.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        names = json.loads(file.read(length))
    return any(name.startswith(CHECKPOINT_PREFIX) for name in names)


def extra_models(base: Path) -> Path:
    """Return the path of the file for ComfyUI's --extra-model-paths-config."""
    return base / "extra_model_paths.yaml"


def model_folders(comfyui: Path) -> dict[str, dict[str, str]]:
    """Return ComfyUI's own model folders as an extra_model_paths configuration (JSON is YAML)."""
    models = comfyui / "models"
    found: dict[str, str] = {}
    for key, name in MODEL_FOLDERS:
        if (models / name).is_dir():
            found[key] = "\n".join(filter(None, (found.get(key), name)))
    return {"comfyui": {"base_path": str(models), **found}}
