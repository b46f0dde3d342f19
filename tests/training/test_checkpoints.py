"""Files of a run: whole or not at all, and never outside their folder."""

import errno

import pytest
import torch
from t2i_adapter_pack.training import checkpoints, run_names
from t2i_adapter_pack.training.errors import CheckpointError

from ..common.test_files import Evaluates, RunsACommand, WritesAFile


@pytest.mark.parametrize("name", ["run", "Läufe 2026-01", "sketch_v1.5", "run+1 (b) @ c=d"])
def test_plain_names_are_taken(name):
    assert run_names.check_run_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", "a/b", "a\\b", "/abs", "../up", "C:x", "a\0b", "a\nb", "~", " x", "x ", "x.", ".x", "con",
        "NUL.txt", "a" * 101, "a*", "run\n",
    ],
)  # fmt: skip
def test_names_that_are_paths_or_no_names_are_refused(name):
    with pytest.raises(CheckpointError, match="run_name"):
        run_names.check_run_name(name)


@pytest.mark.parametrize("prefix", ["adapter", "a/b", "a\\b", "Läufe/mein Adapter", "v1.5", "a..b"])
def test_prefixes_below_the_output_folder_are_taken(prefix):
    assert run_names.check_prefix(prefix) == prefix


@pytest.mark.parametrize(
    "prefix",
    [
        "", " ", ".", "..", "/", "\\", "//", "../up", "..\\up", "a/../../b", "a\\..\\b", "/abs", "\\abs", "C:x",
        "C:\\x", "c:/x", "\\\\server\\share\\x", "a\0b", "a\nb", "a:stream", " ../x", " /abs",
    ],
)  # fmt: skip
def test_prefixes_that_lead_elsewhere_are_refused(prefix):
    with pytest.raises(CheckpointError, match="filename_prefix"):
        run_names.check_prefix(prefix)


def test_a_run_is_a_folder_in_the_output_folder(tmp_path):
    runs = tmp_path / "output" / "runs"
    assert run_names.run_folder(runs, "mine") == runs / "mine"
    with pytest.raises(CheckpointError, match="run_name"):
        run_names.run_folder(runs, "../mine")


@pytest.mark.parametrize("linked", ["the run", "the runs"])
def test_links_out_of_the_output_folder_are_refused_as_comfyui_refuses_them(linked, tmp_path):
    runs, elsewhere = tmp_path / "output" / "runs", tmp_path / "elsewhere"
    elsewhere.mkdir()
    place = runs / "mine" if linked == "the run" else runs
    place.parent.mkdir(parents=True)
    place.symlink_to(elsewhere, target_is_directory=True)
    with pytest.raises(CheckpointError, match="expected a folder in the output folder"):
        run_names.run_folder(runs, "mine")


def test_an_output_folder_that_is_itself_a_link_is_fine(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "output").symlink_to(tmp_path / "disk", target_is_directory=True)
    assert run_names.run_folder(tmp_path / "output" / "runs", "mine").parent == tmp_path / "output" / "runs"


def test_nothing_is_written_through_a_link(tmp_path):
    other = tmp_path / "other"
    other.write_bytes(b"mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / checkpoints.STATE_FILE).symlink_to(other)
    checkpoints.save_state(tmp_path / "run", {"step": 1})
    assert other.read_bytes() == b"mine"
    assert checkpoints.load_state(tmp_path / "run") == {"step": 1}


@pytest.mark.parametrize("bomb", [RunsACommand, Evaluates, WritesAFile])
def test_a_state_that_would_run_code_is_refused_and_does_not_run(bomb, tmp_path):
    torch.save({"step": 1, "extra": bomb(tmp_path / "marker")}, tmp_path / checkpoints.STATE_FILE)
    with pytest.raises(CheckpointError, match="the state of a run"):
        checkpoints.load_state(tmp_path)
    assert not (tmp_path / "marker").exists()


def test_a_state_comes_back_as_it_was(tmp_path):
    state = {"weights": {"a": torch.randn(3)}, "losses": [0.1, 0.2], "origin": {"seed": 3, "name": "x"}}
    checkpoints.save_state(tmp_path / "run", state)
    loaded = checkpoints.load_state(tmp_path / "run")
    assert torch.equal(loaded.pop("weights")["a"], state.pop("weights")["a"])
    assert loaded == state
    assert [path.name for path in (tmp_path / "run").iterdir()] == [checkpoints.STATE_FILE]


def test_no_state_is_none(tmp_path):
    assert checkpoints.load_state(tmp_path) is None


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), RuntimeError("writer"), KeyboardInterrupt()])
def test_nothing_half_written_is_left_and_the_old_file_stays(tmp_path, error):
    path = tmp_path / "file"
    checkpoints.write_whole(path, lambda file: file.write(b"old"))

    def fail(file):
        file.write(b"half")
        raise error

    with pytest.raises((CheckpointError, KeyboardInterrupt)):
        checkpoints.write_whole(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_others_may_read_what_they_may_read_elsewhere(tmp_path):
    checkpoints.write_whole(tmp_path / "file", lambda file: file.write(b"x"))
    (tmp_path / "plain").touch()
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_full_disk_is_told_also_through_torch(tmp_path):
    def full(file):
        class Full:
            def write(self, data):
                raise OSError(errno.ENOSPC, "No space left on device")

            def flush(self):
                pass

        torch.save({"a": torch.zeros(1000)}, Full())

    with pytest.raises(CheckpointError, match="no space left on the disk") as caught:
        checkpoints.write_whole(tmp_path / "file", full)
    assert "Free some space" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_folder_is_told(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    # Not by the folder's mode: whoever may do everything would write into it all the same.
    monkeypatch.setattr(checkpoints.Path, "open", refuse)
    with pytest.raises(CheckpointError, match="a folder that is read-only"):
        checkpoints.save_state(tmp_path, {})


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path):
    (tmp_path / "run").write_text("x")
    with pytest.raises(CheckpointError):
        checkpoints.save_state(tmp_path / "run", {})


@pytest.mark.parametrize("damage", [b"", b"rubbish", b"PK\x03\x04 cut short"])
def test_a_damaged_state_is_told(tmp_path, damage):
    (tmp_path / checkpoints.STATE_FILE).write_bytes(damage)
    with pytest.raises(CheckpointError, match="a damaged file"):
        checkpoints.load_state(tmp_path)


def test_a_state_that_was_cut_short_is_told(tmp_path):
    checkpoints.save_state(tmp_path, {"a": torch.randn(1000)})
    path = tmp_path / checkpoints.STATE_FILE
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(CheckpointError, match="a damaged file"):
        checkpoints.load_state(tmp_path)


@pytest.mark.parametrize("name", ["con", "NUL.safetensors", "aux/adapter", "t2i/Com1 .x", "lpt9.tar.gz"])
def test_names_that_windows_keeps_for_itself_are_refused(name):
    with pytest.raises(CheckpointError, match=r"that Windows does not keep for itself"):
        run_names.check_prefix(name)
