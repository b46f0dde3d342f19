"""What is loaded is in memory of its own: whatever happens to its file, nothing happens to the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import t2i_adapter_pack
import torch
from safetensors.torch import save_file
from t2i_adapter_pack.adapter_models import loading, style_and_fuser
from t2i_adapter_pack.adapter_models.errors import ADAPTER_FILE_ERRORS as FILE_ERRORS
from t2i_adapter_pack.adapter_models.errors import CorruptFileError, NotAnAdapterError
from t2i_adapter_pack.common import files

from . import companion_samples, samples

ROOT = Path(next(iter(t2i_adapter_pack.__path__)))
KINDS = ("adapter", "style", "fuser", "annotator")
CONTAINERS = ("safetensors", "pth", "legacy.pth")
# Loads by one of the ways, cuts the file and writes over what is left, and looks at every weight.
CHILD = """
import os, sys, types
from pathlib import Path
import torch
root, folder = sys.argv[1:]
package = types.ModuleType("t2i_adapter_pack")
package.__path__ = [root]
sys.modules["t2i_adapter_pack"] = package
from t2i_adapter_pack.adapter_models import loading, style_and_fuser
from t2i_adapter_pack.annotators import weights
from t2i_adapter_pack.annotators.errors import ANNOTATOR_FILE_ERRORS
from t2i_adapter_pack.common import files

linear = lambda: torch.nn.Linear(200, 200)
LOADS = {
    "adapter": lambda path: loading.load_adapter_file(path)[0],
    "style": lambda path: style_and_fuser.load_companion(style_and_fuser.STYLE_ADAPTER, path),
    "fuser": lambda path: style_and_fuser.load_companion(style_and_fuser.FUSER, path),
    "annotator": lambda path: weights.fill_annotator(
        "", "", linear, files.read_weights(path, ANNOTATOR_FILE_ERRORS).tensors
    ),
}
for path in sorted(Path(folder).iterdir()):
    print(path.name, flush=True)
    weights_of = LOADS[path.name.partition(".")[0]](path).state_dict().values()
    os.truncate(path, 16)
    sums = [float(weight.double().sum()) for weight in weights_of]
    with path.open("r+b") as file:
        file.write(bytes([255]) * 500_000)
    assert sums == [float(weight.double().sum()) for weight in weights_of]
"""


def contents(kind: str) -> dict[str, torch.Tensor]:
    if kind == "adapter":
        return samples.weights(samples.full(1))
    if kind == "style":
        return companion_samples.random_weights(companion_samples.style_shapes(4, 64, 64, 2))
    if kind == "fuser":
        return companion_samples.random_weights(companion_samples.fuser_shapes(64, samples.CHANNELS, 16, 2))
    return {"weight": torch.rand(200, 200), "bias": torch.rand(200)}


@pytest.mark.slow
def test_a_file_that_is_cut_while_in_use_ends_nothing(tmp_path):
    """In another process, which a mapped file would end."""
    names = [samples.save(tmp_path, contents(kind), to, kind).name for kind in KINDS for to in CONTAINERS]
    command = [sys.executable, "-c", CHILD, str(ROOT), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.split() == sorted(names), done.stderr[-2000:]
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("container", CONTAINERS)
def test_nothing_but_what_is_used_stays_in_memory(container, tmp_path):
    """No view of a buffer that holds more: the other networks of a bundle or checkpoint go."""
    tensors = samples.weights(samples.full(1))
    for name, tensor in files.read_weights(samples.save(tmp_path, tensors, container), FILE_ERRORS).tensors.items():
        assert tensor.untyped_storage().nbytes() == tensor.nbytes, name


def read_bytes(monkeypatch) -> list[int]:
    """The bytes that are read from now on for tensors, run by run."""
    from t2i_adapter_pack.common import stored

    read, counted = stored._read_run, []

    def count(file, begin, nbytes):
        counted.append(nbytes)
        return read(file, begin, nbytes)

    monkeypatch.setattr(stored, "_read_run", count)
    return counted


@pytest.mark.parametrize("container", ["safetensors", "ckpt"])
def test_only_the_chosen_entry_of_a_bundle_is_read(container, tmp_path, monkeypatch):
    content = {}
    for seed, name in enumerate(("sketch", "depth", "color")):
        content |= samples.prefixed(f"adapters.{name}.", samples.weights(samples.full(1), seed))
    path = samples.save(tmp_path, content, container)
    counted = read_bytes(monkeypatch)
    network, _ = loading.load_adapter_file(path, member="depth")
    assert samples.same_bits(network.state_dict(), samples.weights(samples.full(1), 1))
    assert sum(counted) == sum(tensor.nbytes for tensor in network.state_dict().values())


@pytest.mark.parametrize("container", ["safetensors", "pth"])
def test_of_what_is_something_else_nothing_is_read(container, tmp_path, monkeypatch):
    path = samples.save(tmp_path, {"control_model.input_blocks.0.weight": torch.zeros(64, 64)}, container)
    counted = read_bytes(monkeypatch)
    with pytest.raises(NotAnAdapterError, match="a ControlNet"):
        loading.load_adapter_file(path)
    with pytest.raises(NotAnAdapterError, match="a ControlNet"):
        style_and_fuser.load_companion(style_and_fuser.FUSER, path)
    assert counted == []


@pytest.mark.parametrize("container", ["safetensors", "pth", "legacy.pth"])
@pytest.mark.parametrize("change", ["cut", "written over", "gone"])
def test_a_file_that_changes_while_it_is_read_is_refused(change, container, tmp_path):
    path = samples.save(tmp_path, samples.weights(samples.full(1)), container)
    content = path.read_bytes()

    def pick(outlines):
        path.unlink()
        if change != "gone":
            path.write_bytes(content[: len(content) // 2] if change == "cut" else content[::-1] + b"more")
        return outlines

    with pytest.raises(CorruptFileError, match=r"changed while it was read|cut-off file"):
        files.read_weights(path, FILE_ERRORS, pick)


@pytest.mark.parametrize("dtype", [torch.uint16, torch.int8, torch.bool, torch.complex64, torch.float8_e5m2])
def test_numbers_of_every_kind_come_back(dtype, tmp_path):
    tensors = {
        "a": torch.zeros(3, 0, 2, dtype=dtype),
        "b": torch.ones((), dtype=dtype),
        "c": torch.ones(2, 3).to(dtype),
    }
    save_file(tensors, path := tmp_path / "x.safetensors")
    assert samples.same_bits(dict(files.read_weights(path, FILE_ERRORS).tensors), tensors)


def test_headers_are_read_as_safetensors_reads_them(tmp_path):
    """The same names, shapes, precisions and text, of every layout."""
    from safetensors import safe_open

    for number, (config, naming) in enumerate(samples.LAYOUTS.values()):
        path = tmp_path / f"{number}.safetensors"
        save_file(samples.named(samples.weights(config), config, naming), path, {"number": str(number)})
        found = files.read_weights(path, FILE_ERRORS)
        with safe_open(path, "pt") as file:
            assert found.metadata == file.metadata()
            names = file.keys()
            assert samples.same_bits(dict(found.tensors), {name: file.get_tensor(name) for name in names})
