"""One process at a time trains in a run's folder."""

from __future__ import annotations

import subprocess
import sys

import pytest
from t2i_adapter_pack.training.errors import CheckpointError
from t2i_adapter_pack.training.locks import LOCK_FILE, RunLock

HOLDER = """
import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
file.write("process 1 on elsewhere, since noon")
file.flush()
print("held", flush=True)
time.sleep(600)
"""


def test_the_second_of_two_is_refused_and_told_who_holds_the_run(tmp_path):
    first, second = RunLock(tmp_path / "run"), RunLock(tmp_path / "run")
    first.acquire()
    with pytest.raises(CheckpointError, match=r"got a run in progress, by process \d+ on .+, since 20\d\d-") as caught:
        second.acquire()
    assert str(caught.value).startswith("Another process is training this run.")
    second.release()
    with pytest.raises(CheckpointError):
        second.acquire()
    first.release()
    second.acquire()
    second.release()
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="the holder uses a lock of POSIX")
def test_the_lock_of_a_killed_process_is_taken_over_and_logged(tmp_path, caplog):
    path = tmp_path / LOCK_FILE
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        lock = RunLock(tmp_path)
        with pytest.raises(CheckpointError, match="by process 1 on elsewhere, since noon"):
            lock.acquire()
        holder.kill()
    lock.acquire()
    assert "ended unexpectedly (process 1 on elsewhere, since noon)" in caplog.text
    lock.release()
    assert not path.exists()


def test_a_folder_that_is_a_file_is_told(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(CheckpointError, match="a place to write to"):
        RunLock(tmp_path / "run").acquire()
