"""Run a module of this tree: `python dev/tasks/launch.py dev.demo.main --serve`.

The checkout's folder can have any name ("my pack", "ComfyUI-T2I-Adapter"), and it must never be on sys.path, where our
nodes/ would shadow ComfyUI's nodes.py. So `python -m` can't be used. Instead, this script loads the tree under a fixed
package name and calls `main(arguments)` of the module.
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
    # Python put this folder first on the path; its server.py and setup.py must not shadow other modules.
    sys.path[:] = [entry for entry in sys.path if not entry or Path(entry).absolute() != here]
    package = types.ModuleType(PACKAGE)
    package.__path__ = [str(here.parents[1])]
    sys.modules[PACKAGE] = package
    module = importlib.import_module(f"{PACKAGE}.{arguments[0]}")
    status: int = module.main(arguments[1:])
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
