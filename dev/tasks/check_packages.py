"""List the installed packages, and those with missing or changed files. Run by the environment's own Python.

Reads {"expected": [name==version, ...]} or {} from stdin; writes {"packages": [...], "damaged": [...]} to stdout.
Imports only the standard library, so that it works in a broken environment.
"""

import csv
import json
import os
import sys
from importlib import metadata


def main() -> None:
    """Read the request from stdin and write the reply to stdout."""
    expected = json.load(sys.stdin).get("expected", [])
    installed = {pin(dist): dist for dist in metadata.distributions() if dist.metadata["Name"]}
    gone = [name for name in expected if name not in installed]
    damaged = [name for name, dist in installed.items() if name in expected and is_damaged(dist)]
    json.dump({"packages": sorted(installed), "damaged": sorted(gone + damaged)}, sys.stdout)


def pin(dist: metadata.Distribution) -> str:
    """Return a pip argument for this exact release, without the local label, which indexes may not offer."""
    return f"{dist.metadata['Name']}=={dist.version.split('+')[0]}"


def is_damaged(dist: metadata.Distribution) -> bool:
    """Return whether a file that pip installed is missing or has another size."""
    record = dist.read_text("RECORD")
    if record is None:
        return True
    base = str(dist.locate_file(""))
    for row in csv.reader(record.splitlines()):
        # Python rewrites bytecode itself, and the record states no size for it.
        if len(row) != 3 or row[0].endswith(".pyc"):
            continue
        try:
            size = os.stat(os.path.join(base, row[0])).st_size
        except OSError:
            return True
        if row[2] and int(row[2]) != size:
            return True
    return False


if __name__ == "__main__":
    main()
