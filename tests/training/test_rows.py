"""Rows of example files: memory of their own, and an error where a file is cut or rewritten while it is in use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from t2i_adapter_pack.training import rows
from t2i_adapter_pack.training.errors import CheckpointError
from t2i_adapter_pack.training.in_memory_dataset import Draw
from t2i_adapter_pack.training.rows import ROW_DAMAGE, read_facts, read_row
from t2i_adapter_pack.training.samples import list_folder

from . import datasets

FACTS = {"key": "k"}
TENSORS = {"0.a": torch.arange(6.0).view(2, 3), "1.a": torch.arange(4, dtype=torch.uint8), "10.a": torch.zeros(1)}


def written(path: Path) -> Path:
    safetensors.torch.save_file(TENSORS, path, FACTS)
    return path


def test_rows_are_those_that_safetensors_wrote(tmp_path):
    path = written(tmp_path / "x")
    assert read_facts(path) == FACTS
    for number, name in ((0, "0.a"), (1, "1.a"), (10, "10.a")):
        row = read_row(path, number, FACTS)
        assert list(row) == ["a"]
        assert torch.equal(row["a"], TENSORS[name])
    assert read_row(path, 2, FACTS) == {}


def test_rows_outlive_their_file(tmp_path):
    """Mapped memory would end the process here, with a signal that nothing can catch."""
    path = written(tmp_path / "x")
    row = read_row(path, 0, FACTS)
    path.write_bytes(b"")
    assert torch.equal(row["a"], TENSORS["0.a"])


def headed(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(**changes: object) -> dict[str, object]:
    return {"__metadata__": FACTS, "0.a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **changes}}


@pytest.mark.parametrize(
    "data",
    [
        b"", b"1234567", b"\xff" * 8, b"\xff" * 100, headed(b"{"), headed(b"[" * 90_000), headed([]), headed(3),
        headed({"__metadata__": FACTS, "0.a": 3}), headed({"0.a": {}}), headed(entry(), b"123"),
        headed(entry(), b"12345"), headed(entry(dtype="F8"), b"1234"), headed(entry(shape=[10**30]), b"1234"),
        headed(entry(shape=[-1, -1]), b"1234"), headed(entry(shape=None), b"1234"),
        headed(entry(data_offsets=[-4, 0])), headed(entry(data_offsets=[0, 2**70]), b"1234"),
        headed({**entry(), "__metadata__": {"key": "another"}}, b"1234"), headed({**entry(), "__metadata__": None}),
    ],
)  # fmt: skip
def test_damage_of_any_kind_is_told(tmp_path, data):
    path = tmp_path / "x"
    path.write_bytes(data)
    with pytest.raises(ROW_DAMAGE):
        read_row(path, 0, FACTS)


def test_a_file_that_changes_while_it_is_read_is_told(tmp_path, monkeypatch):
    """The new numbers may have the old ones' names, shapes and places."""
    path = written(tmp_path / "x")
    read_tensor = rows._tensor

    def read_while_another_writes(*arguments):
        tensor = read_tensor(*arguments)
        os.utime(path, ns=(0, 0))
        return tensor

    monkeypatch.setattr(rows, "_tensor", read_while_another_writes)
    with pytest.raises(ValueError, match="changed while it was read"):
        read_row(path, 0, FACTS)


def test_examples_that_somebody_cuts_or_rewrites_end_the_run_with_an_error(tmp_path):
    listing = list_folder(datasets.folder(tmp_path / "f", datasets.members(3)))
    data = datasets.cached(listing, tmp_path / "c")
    file, other = list((tmp_path / "c").rglob("*.safetensors"))[:2]
    whole = file.read_bytes()
    for content in (whole[: len(whole) // 2], b"", other.read_bytes()):
        file.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"a damaged or missing file .*Start the command again"):
            [data.batch(Draw(1), number) for number in range(3)]
    file.write_bytes(whole)
    assert data.batch(Draw(1), 0).latents.shape[0] == 1


def test_a_file_that_is_cut_again_and_again_never_ends_the_process(tmp_path):
    """Another process truncates and restores the file all the time, while this one reads it."""
    path = written(tmp_path / "x")
    big = {"0.a": torch.randn(1 << 18)}
    safetensors.torch.save_file(big, path, FACTS)
    code = (
        "import os, sys, time\n"
        "path, until = sys.argv[1], time.monotonic() + 1.5\n"
        "data = open(path, 'rb').read()\n"
        "while time.monotonic() < until:\n"
        "    os.truncate(path, 100)\n"
        "    open(path, 'r+b').write(data)\n"
    )
    told = 0
    with subprocess.Popen([sys.executable, "-c", code, str(path)]) as other:
        while other.poll() is None:
            try:
                read_row(path, 0, FACTS)
            except ROW_DAMAGE:
                told += 1
    assert other.returncode == 0
    assert told
    assert torch.equal(read_row(path, 0, FACTS)["a"], big["0.a"])
