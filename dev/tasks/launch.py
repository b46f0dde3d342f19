"""Run a module of this tree: `python dev/tasks/launch.py dev.demo.main --serve`.

The tree is a package whose folder may be called anything ("my pack", "ComfyUI-T2I-Adapter"), and its root must never
be on sys.path, where our nodes/ would shadow ComfyUI's nodes.py. So `python -m` can't be used: this loads the tree
under a fixed name instead, and calls `main(arguments)` of the module asked for.
"""

import importlib
import sys
import types
from pathlib import Path

PACKAGE = "t2i_adapter_pack"


def main(arguments: list[str]) -> int:
    """Import the module named first in the arguments and call its `main` with the rest.

    Returns:
        The exit status.
    """
    if not arguments:
        sys.exit("launch: got no module; expected one, for example `python dev/tasks/launch.py dev.demo.main`.")
    here = Path(__file__).absolute().parent
    # Python put this folder first; its server.py and setup.py must not shadow anyone's.
    sys.path[:] = [entry for entry in sys.path if not entry or Path(entry).absolute() != here]
    package = types.ModuleType(PACKAGE)
    package.__path__ = [str(here.parents[1])]
    sys.modules[PACKAGE] = package
    module = importlib.import_module(f"{PACKAGE}.{arguments[0]}")
    status: int = module.main(arguments[1:])
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
