"""The command's summary of its data: one line that distinguishes the user's maps from drawn ones."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ..training import datasets

pytestmark = pytest.mark.host


def told(caplog) -> str:
    return next(record.message for record in reversed(caplog.records) if " left out" in record.message)


@pytest.mark.parametrize("again", [False, True])
def test_own_maps_drawn_ones_and_what_is_left_out_are_counted(command, pictures, caplog, again):
    datasets.folder(pictures, {"cond/000.png": datasets.png(128, 128), "cond/001.png": datasets.png(10, 10)})
    (pictures / "002.txt").unlink()
    if again:
        assert command(steps=1) == 0
    caplog.clear()
    assert command(steps=1 + again) == 0
    assert told(caplog) == "3 examples: 1 with their own maps, 2 drawn by canny, 2 left out"


def test_linked_maps_are_used(command, tmp_path, pictures, caplog):
    maps = {f"{number:03}.png": datasets.png(*datasets.SHAPES[number % 4]) for number in range(5)}
    datasets.folder(tmp_path / "elsewhere", maps)
    (pictures / "conditions").symlink_to(tmp_path / "elsewhere")
    assert command(steps=1, condition=None) == 0
    assert told(caplog) == "5 examples: 5 with their own maps, 0 drawn, 0 left out"


def test_examples_are_those_of_a_checkpoint_s_content_wherever_it_lies(comfyui, tmp_path):
    from t2i_adapter_pack.cli import encode
    from t2i_adapter_pack.cli.options import parse

    options = parse(["--checkpoint", "x", "--data", "y", "--condition", "canny", "--annotator", "canny"])
    network = SimpleNamespace(config=SimpleNamespace(image_channels=3))
    adapter = SimpleNamespace(network=network, bgr=False, info=SimpleNamespace(condition=None, family=None))

    def identity(name: str, content: bytes) -> str:
        path = tmp_path / name
        path.write_bytes(content)
        return encode.recipe(options, encode.LoadedCheckpoint(path, None, None, None), adapter).fingerprint([])

    first = identity("a.safetensors", b"a checkpoint")
    assert identity("b.safetensors", b"a checkpoint") == first
    assert identity("a.safetensors", b"another one.") != first
