"""Any name of a run or file stays in the output folder, or is refused."""

from __future__ import annotations

import os
import string
from pathlib import Path, PureWindowsPath

from hypothesis import given
from hypothesis import strategies as st
from t2i_adapter_pack.training.errors import CheckpointError
from t2i_adapter_pack.training.run_names import check_prefix, check_run_name

from .engine import SHORT

PIECES = (
    "..",
    ".",
    "/",
    "\\",
    "//",
    "C:",
    "~",
    " ",
    "con",
    "NUL.txt",
    "a",
    "\0",
    "\n",
    "\u2025",
    "$HOME",
    "%TEMP%",
    ":",
)
names = st.one_of(
    st.text(max_size=24),
    st.lists(st.sampled_from(PIECES), max_size=6).map("".join),
    st.text(alphabet=string.punctuation + "ab ", max_size=12),
)
BASE = "/somewhere/output"


def inside(name: str) -> bool:
    """Return whether a name stays inside a folder, by this system's and by Windows' rules."""
    here = Path(os.path.normpath(Path(BASE, name)))
    there = PureWindowsPath("Z:/output", name)
    return here.is_relative_to(BASE) and there.is_relative_to("Z:/output") and ".." not in there.parts


@SHORT
@given(names)
def test_a_run_is_a_folder_in_the_output_folder(name):
    try:
        check_run_name(name)
    except CheckpointError:
        return
    assert inside(name)
    assert len(PureWindowsPath(name).parts) == 1


@SHORT
@given(names)
def test_a_prefix_stays_in_the_output_folder(name):
    try:
        check_prefix(name)
    except CheckpointError:
        return
    assert inside(name)
    assert inside(name.strip())
