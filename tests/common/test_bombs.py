"""Small files that announce enormous ones, and walks that would never end."""

from __future__ import annotations

import io
import json
import time
import zipfile
from functools import partial
from pathlib import Path

import pytest
import torch
from t2i_adapter_pack.adapter_models import loading
from t2i_adapter_pack.adapter_models.errors import ADAPTER_FILE_ERRORS as FILE_ERRORS
from t2i_adapter_pack.adapter_models.errors import AdapterError, CorruptFileError
from t2i_adapter_pack.common import files, opcodes, pickles

from ..adapter_models import samples
from ..adapter_models.test_corruption import megabytes_at_peak

LEAST_MEGABYTES = 100


@pytest.fixture(autouse=True)
def small_and_quick():
    """Whatever a file says, refusing it takes neither memory nor time."""
    memory, started = megabytes_at_peak(), time.monotonic()
    yield
    assert megabytes_at_peak() - memory < LEAST_MEGABYTES
    assert time.monotonic() - started < 20


def deep(depth: int) -> dict[str, object]:
    """Dictionaries that refer to each other: 2^depth ways through."""
    inner: dict[str, object] = {"weight": torch.zeros(1)}
    for _ in range(depth):
        inner = {"a": inner, "b": inner}
    return inner


@pytest.mark.parametrize("container", ["ckpt", "legacy.ckpt"])
@pytest.mark.parametrize("depth", [30, 200])
def test_dictionaries_that_refer_to_each_other_are_refused(depth, container, tmp_path):
    path = samples.save(tmp_path, deep(depth), container)
    for way in (files.read_weights, files.tensor_names, lambda path, _: loading.load_adapter_file(path)):
        with pytest.raises(CorruptFileError, match="dictionaries nested too deep"):
            way(path, FILE_ERRORS)


@pytest.mark.parametrize("container", ["ckpt", "legacy.ckpt"])
def test_each_dictionary_is_visited_once(container, tmp_path):
    path = samples.save(tmp_path, deep(12), container)
    assert list(files.read_weights(path, FILE_ERRORS).tensors) == [".".join(["a"] * 12 + ["weight"])]


def test_names_that_grow_with_each_level_are_refused(tmp_path):
    inner: dict[str, object] = {str(number): torch.zeros(1) for number in range(1000)}
    for _ in range(10):
        inner = {"x" * 10_000: inner}
    with pytest.raises(CorruptFileError, match="a name of"):
        files.read_weights(samples.save(tmp_path, inner, "ckpt"), FILE_ERRORS)


def test_too_many_names_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(pickles, "MOST_PICKLED_ENTRIES", 100)
    with pytest.raises(CorruptFileError, match="too many names"):
        files.read_weights(
            samples.save(tmp_path, {str(number): torch.zeros(1) for number in range(200)}, "pth"), FILE_ERRORS
        )


def packed(path: Path, method: int = zipfile.ZIP_DEFLATED, **more: bytes) -> Path:
    """The same torch file, each record compressed, with records beside it."""
    result = path.with_name(f"packed {path.name}")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(result, "w", method) as target:
        for record in source.namelist():
            target.writestr(record, source.read(record))
        root = source.namelist()[0].partition("/")[0]
        for name, content in more.items():
            target.writestr(f"{root}/{name}", content)
    return result


def test_a_compressed_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    bomb = packed(samples.save(tmp_path, {"a": torch.zeros(1)}, "pth"), extra=bytes(400_000_000))
    assert bomb.stat().st_size < 1_000_000
    # Making it took the memory, so what counts here is that nothing of it is read.
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_, **__: pytest.fail("a record was opened"))
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_, **__: pytest.fail("a record was read"))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch was asked"))
    with pytest.raises(CorruptFileError, match="it is compressed"):
        files.read_weights(bomb, FILE_ERRORS)


def test_records_that_announce_more_than_the_file_are_refused(tmp_path):
    path = samples.save(tmp_path, {"a": torch.zeros(1000)}, "pth")
    content = bytearray(path.read_bytes())
    # In the directory, all records begin at the greatest one and have its length: one after the other they fit nowhere.
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        big = max(archive.infolist(), key=lambda record: record.file_size)
        at = archive.start_dir
    while (at := content.find(b"PK\x01\x02", at)) >= 0:
        content[at + 20 : at + 28] = big.file_size.to_bytes(4, "little") * 2
        at += 46
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"records of \d+ bytes in a file of"):
        files.read_weights(path, FILE_ERRORS)


def test_a_large_record_beside_the_tensors_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(pickles, "LARGEST_PICKLE", 100_000)
    path = packed(samples.save(tmp_path, {"a": torch.zeros(1)}, "pth"), zipfile.ZIP_STORED, extra=bytes(200_000))
    with pytest.raises(CorruptFileError, match="bytes beside the tensors"):
        files.read_weights(path, FILE_ERRORS)


WIDE = {
    "stride 0": lambda: torch.zeros(1).expand(7_000, 1_000, 3_000),
    "overlapping": lambda: torch.zeros(1000).as_strided((900, 900, 64), (1, 0, 1)),
}


@pytest.mark.parametrize("container", ["pth", "legacy.pth"])
@pytest.mark.parametrize("wide", WIDE.values(), ids=WIDE)
def test_tensors_that_announce_more_numbers_than_they_hold_are_refused(wide, container, tmp_path):
    path = samples.save(tmp_path, {"a": wide()}, container)
    assert path.stat().st_size < 10_000
    with pytest.raises(CorruptFileError, match=r"a announces \d+ numbers and holds 1"):
        files.read_weights(path, FILE_ERRORS)


def test_a_storage_of_another_length_than_its_record_is_refused(tmp_path):
    """torch believes the pickle, and would give the numbers beside them, or read past its own memory."""
    path = samples.save(tmp_path, {"a": torch.zeros(100), "b": torch.ones(120)}, "pth")
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        parts = {name: archive.read(name) for name in names}
    pickle_name = next(name for name in names if name.endswith("data.pkl"))
    # Each tensor announces the length of the other's storage; their own shapes stay within it.
    swapped = (
        parts[pickle_name]
        .replace(b"K\x64tq", b"K\x00tq")
        .replace(b"K\x78tq", b"K\x64tq")
        .replace(b"K\x00tq", b"K\x78tq")
    )
    assert swapped != parts[pickle_name]
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, swapped if name == pickle_name else parts[name])
    assert path.stat().st_size <= len(content) + 4096
    with pytest.raises(AdapterError):
        files.read_weights(path, FILE_ERRORS)


@pytest.mark.parametrize(
    "header",
    [
        {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}},
        {"a": {"dtype": "F32", "shape": [0, 2**70], "data_offsets": [0, 0]}},
        {"a": {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}},
        {
            "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
            "b": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        },
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 8]}},
        {"a": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}},
        {"a": 3},
        {"__metadata__": {"a": 3}},
        {"__metadata__": []},
        {"__metadata__": 3, "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}},
    ],
    ids=lambda header: json.dumps(header)[:50],
)
def test_headers_of_safetensors_that_lie_are_refused(header, tmp_path):
    text = json.dumps(header).encode()
    (path := tmp_path / "x.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    with pytest.raises(CorruptFileError, match="damaged or cut-off file"):
        files.read_weights(path, FILE_ERRORS)


def test_a_long_header_is_not_read(tmp_path):
    path = tmp_path / "x.safetensors"
    with path.open("wb") as file:
        file.write((1 << 30).to_bytes(8, "little") + b"{")
        file.truncate((1 << 30) + 100)  # a hole: nothing on the disk
    with pytest.raises(CorruptFileError, match="a header of 1073741824 bytes"):
        files.read_weights(path, FILE_ERRORS)


# Each level puts the tuple before it into another, once or twice. Hashing visits 2^40, or overflows the stack.
KEYS = {"pairs": b")" + b"q\xc8h\xc8\x86" * 40, "depths": b")" + b"\x85" * 1_000_000}
PLACES = {
    "a key": lambda key: key + b"K\x00",
    "a key in a list of pairs": lambda key: b"K\x00ccollections\nOrderedDict\n](" + key + b"K\x00\x86e\x85R",
    "an argument": lambda key: b"K\x00ccollections\nCounter\n" + key + b"\x85\x85R",
}


@pytest.mark.parametrize("container", ["ckpt", "legacy.ckpt"])
@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_tuples_in_tuples_are_refused_before_anything_hashes_them(place, key, container, tmp_path):
    path = samples.with_instructions(samples.save(tmp_path, {"a": torch.zeros(1), "mark": 0}, container), place(key))
    for way in (
        partial(files.read_weights, errors=FILE_ERRORS),
        partial(files.tensor_names, errors=FILE_ERRORS),
        loading.load_adapter_file,
    ):
        with pytest.raises(CorruptFileError, match="tuples nested too deep"):
            way(path)


@pytest.mark.parametrize("container", ["ckpt", "legacy.ckpt"])
def test_tuples_that_other_programs_save_are_read(container, tmp_path):
    shape = (3, (4, 5))
    beside = {"about": {"shapes": [shape] * 100, shape: (shape, shape)}, ("a", 1): 2}
    path = samples.save(tmp_path, {"a": torch.zeros(1), **beside}, container)
    assert list(files.read_weights(path, FILE_ERRORS).tensors) == ["a"]


def test_a_pickle_of_endless_steps_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(opcodes, "MOST_STEPS", 1000)
    with pytest.raises(CorruptFileError, match="a pickle of more than 1000 steps"):
        files.read_weights(
            samples.save(tmp_path, {str(number): torch.zeros(1) for number in range(200)}, "pth"), FILE_ERRORS
        )
