"""Train a T2I-Adapter: `python custom_nodes/ComfyUI-T2I-Adapter/cli train --help`.

With several GPUs: `accelerate launch custom_nodes/ComfyUI-T2I-Adapter/cli/__main__.py train …`. The pack's folder may
be called anything and must never be on `sys.path`, where its `nodes/` would hide ComfyUI's `nodes.py`. So the pack is
loaded under a name of its own.
"""

import importlib
import sys
import types
from pathlib import Path

PACKAGE = "t2i_adapter_pack"


def run() -> int:
    """Load the pack and run the command.

    Returns:
        The exit status.
    """
    here = Path(__file__).absolute().parent
    # Running a folder or file puts its folder first on the path: its module names must not hide anybody else's.
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").absolute() != here]
    package = types.ModuleType(PACKAGE)
    package.__path__ = [str(here.parent)]
    sys.modules[PACKAGE] = package
    status: int = importlib.import_module(f"{PACKAGE}.cli.main").main(sys.argv[1:])
    return status


if __name__ == "__main__":
    sys.exit(run())
