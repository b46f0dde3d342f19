"""Find wrong paths in the command line before torch and ComfyUI load, which takes seconds."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..common.errors import PackError
from ..training.patterns import expand
from .settings_file import with_settings


def check_paths(arguments: Sequence[str]) -> None:
    """Check that the data set exists; the parser of the command reports all other mistakes later.

    Args:
        arguments: The words after the program's name.

    Raises:
        PackError: A folder or a shard does not exist, or the file of settings can't be read.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--data", nargs="+", default=[])
    try:
        places = parser.parse_known_args(with_settings(arguments))[0].data
    except argparse.ArgumentError:
        return
    for place in (name for pattern in places for name in expand(pattern)):
        if not Path(place).expanduser().exists():
            raise PackError(
                f"--data, {place}",
                "nothing there",
                "a folder of pictures, parquet files, or uncompressed tar shards such as shards/{000..123}.tar",
                "Correct the path.",
                says=f"The data set {place} does not exist.",
            )
