"""Train a T2I-Adapter: `python custom_nodes/ComfyUI-T2I-Adapter/cli train --help`.

With several GPUs: `accelerate launch custom_nodes/ComfyUI-T2I-Adapter/cli/__main__.py train …`. The pack's folder can
have any name and must never be on `sys.path`, where its `nodes/` would hide ComfyUI's `nodes.py`, so the pack is loaded
under a fixed name.
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
    # Python puts the script's folder first on the path, where its modules would hide others of the same name.
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").absolute() != here]
    package = types.ModuleType(PACKAGE)
    package.__path__ = [str(here.parent)]
    sys.modules[PACKAGE] = package
    try:
        importlib.import_module(f"{PACKAGE}.cli.early").check_paths(sys.argv[1:])
    except ValueError as error:  # a PackError
        sys.stderr.write(f"{error}\n")
        return 1
    status: int = importlib.import_module(f"{PACKAGE}.cli.main").main(sys.argv[1:])
    return status


if __name__ == "__main__":
    sys.exit(run())
