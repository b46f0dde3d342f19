"""The command in its own process, in a ComfyUI that supports the miniature: `python command.py <options>`.

The command does not load custom nodes, through which ComfyUI supports the miniature elsewhere.
"""

import importlib.util
import os
import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).absolute().parents[2]

if __name__ == "__main__":
    sys.path.insert(0, os.environ["COMFYUI_PATH"])
    from comfy.cli_args import args

    # As in the tests' own process, so that both compute alike to the last bit.
    args.cpu = True
    args.use_pytorch_cross_attention = True
    path = ROOT / "dev" / "miniature" / "companion" / "__init__.py"
    spec = importlib.util.spec_from_file_location("miniature_companion", path)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    sys.argv[0] = str(ROOT / "cli" / "__main__.py")
    runpy.run_path(sys.argv[0], run_name="__main__")
