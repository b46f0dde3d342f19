"""Paths of the commands' files. Everything that they create is in one ignored folder."""

from pathlib import Path

# Not resolved: a checkout that is linked into custom_nodes must still see ComfyUI as its parent.
ROOT = Path(__file__).absolute().parents[2]
TASKS = ROOT / "dev" / "tasks"
STATE = ROOT / ".comfyui"
ENVIRONMENT = STATE / "environment"
BASE = STATE / "base"
SETUP = STATE / "setup.json"
WEIGHTS = ROOT / "dev" / "miniature" / "weights"

PACK_NAME = "ComfyUI-T2I-Adapter"
COMPANION_NAME = "ComfyUI-T2I-Adapter-Miniature"
