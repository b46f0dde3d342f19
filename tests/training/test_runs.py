"""A run's folder before the run: cleared, and known to take the run's files."""

from __future__ import annotations

import os
import time

import pytest
from t2i_adapter_pack.training.checkpoints import write_whole
from t2i_adapter_pack.training.errors import CheckpointError
from t2i_adapter_pack.training.run_names import check_prefix, check_run_name, require_inside
from t2i_adapter_pack.training.runs import begin_run, remove_unfinished


def killed(path):
    """Leave what a process leaves that is killed while it writes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.0123456789abcdef0123456789abcdef.part")
    part.write_bytes(b"half")
    return part


def test_what_a_killed_run_has_left_is_removed_and_nothing_else(tmp_path):
    folder = tmp_path / "run"
    parts = [killed(folder / "training_state.pt"), killed(folder / "cache" / "examples_000001.safetensors")]
    kept = [folder / "training_state.pt", folder / "a.part", folder / ".part"]
    for path in kept:
        path.write_bytes(b"")
    begin_run(folder, 10)
    assert not any(path.exists() for path in parts)
    assert sorted(path.name for path in folder.iterdir()) == sorted(["cache", *(path.name for path in kept)])


def test_files_that_somebody_may_still_write_are_left(tmp_path):
    fresh, old = killed(tmp_path / "a"), killed(tmp_path / "b")
    os.utime(old, (time.time() - 7200,) * 2)
    remove_unfinished(tmp_path.iterdir(), age=3600)
    assert fresh.exists()
    assert not old.exists()


def test_names_that_the_disk_does_not_hold_are_told_before_the_first_step(tmp_path):
    """Here with what training puts around it: the name alone would fit."""
    longest = os.pathconf(tmp_path, "PC_NAME_MAX")
    begin_run(tmp_path / ("n" * 100), 10)
    with pytest.raises(CheckpointError, match=r"a name that is too long for this disk.*Choose a shorter name"):
        begin_run(tmp_path / ("n" * (longest - 20)), 10)
    with pytest.raises(CheckpointError, match="a name that is too long for this disk"):
        begin_run(tmp_path / ("n" * 190), 10**12)


def test_the_longest_name_that_is_taken_fits_around_every_file(tmp_path):
    for name in ("ü" * 90, "字" * 60, "a" * 100, "é" * 90):
        folder = tmp_path / check_run_name(name)
        begin_run(folder, 999_999_999)
        write_whole(folder / f"{name}_step_999999999.safetensors", lambda file: file.write(b""))


@pytest.mark.parametrize("name", ["ü" * 91, "字" * 61, "字" * 100])
def test_names_are_bounded_in_bytes(name):
    with pytest.raises(CheckpointError, match=r"run_name: got \d+ bytes; expected at most 180"):
        check_run_name(name)
    with pytest.raises(CheckpointError, match="at most 180 bytes"):
        check_prefix(f"folder/{name}/x")


RESERVED = [
    "con",
    "PRN",
    "aux",
    "NUL",
    "com1",
    "LPT9",
    "nul.txt",
    "con .x",
    "com¹",
    "LPT³.safetensors",
    "ｃｏｎ",
    "aux.tar.gz",
]


@pytest.mark.parametrize("name", RESERVED)
def test_names_that_windows_keeps_for_itself_are_refused(name):
    with pytest.raises(CheckpointError, match="run_name: got"):
        check_run_name(name)
    for prefix in (name, f"{name}/a", f"a/{name}/b", f"a\\{name}"):
        with pytest.raises(CheckpointError, match="that Windows does not keep for itself"):
            check_prefix(prefix)


@pytest.mark.parametrize("name", ["console", "nullify", "com", "com10", "auxiliary.1", "a con"])
def test_names_that_only_begin_like_those_are_taken(name):
    assert check_run_name(name) == check_prefix(name) == name


@pytest.mark.parametrize("value", [None, 3, b"run", ["run"], 1.5])
def test_names_that_are_no_text_are_refused(value):
    with pytest.raises(CheckpointError, match="run_name: got"):
        check_run_name(value)
    with pytest.raises(CheckpointError, match="filename_prefix: got"):
        check_prefix(value)


def test_a_link_to_itself_is_told(tmp_path):
    (tmp_path / "runs").symlink_to(tmp_path / "runs")
    with pytest.raises(CheckpointError):
        require_inside(tmp_path / "runs" / "mine", tmp_path)
