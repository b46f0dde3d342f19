"""Run a command of this folder: `python dev/miniature train | measure | sheet [options]`.

The folder is loaded as a separate package, so that the repository's root is never on `sys.path`, where its `nodes/`
would shadow ComfyUI's `nodes.py`.
"""

import importlib
import importlib.util
import sys
from pathlib import Path

PACKAGE = "t2i_miniature"
COMMANDS = ("train", "measure", "sheet")


def main() -> None:
    """Load the package and hand the remaining arguments to the named command."""
    folder = Path(__file__).resolve().parent
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        raise SystemExit(f"usage: python {folder.name} {{{','.join(COMMANDS)}}} [options]; --help after a command")
    # Running a folder puts it first on the path, where its modules would shadow others.
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != folder]
    spec = importlib.util.spec_from_file_location(
        PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    package = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = package
    spec.loader.exec_module(package)
    command = importlib.import_module(f"{PACKAGE}.{sys.argv[1]}")
    command.main(sys.argv[2:])


if __name__ == "__main__":
    main()
