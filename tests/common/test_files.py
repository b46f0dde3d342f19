"""Reading files: what is damaged, empty or dangerous is refused, and nothing of it runs."""

import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from t2i_adapter_pack.adapter_models.errors import (
    ADAPTER_FILE_ERRORS,
    AdapterError,
    CorruptFileError,
    NotAnAdapterError,
    UnsafeFileError,
)
from t2i_adapter_pack.common import files

from ..adapter_models import samples

PICKLES = ("pth", "bin", "ckpt", "pt", "legacy.pth", "legacy.ckpt")


class RunsACommand:
    """Pickles into a call of os.system."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f'echo ran > "{self.marker}"',)


class Evaluates:
    """Pickles into a call of eval."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return eval, (f"open({str(self.marker)!r}, 'w').close()",)


class WritesAFile:
    """Pickles into a call of a method of a path."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (Path(self.marker),)


def beside(bomb):
    return {"conv_in.weight": torch.zeros(8, 64, 3, 3), "extra": bomb}


PLACES = {
    "alone": lambda bomb: bomb,
    "beside weights": beside,
    "in a nested dict": lambda bomb: {"state_dict": {"a": {"b": [bomb]}}},
    "in a list": lambda bomb: [torch.zeros(1), bomb],
    "as a key": lambda bomb: {(bomb,): torch.zeros(1)},
    "before the weights": lambda bomb: OrderedDict([("x", bomb), ("conv_in.weight", torch.zeros(8, 64, 3, 3))]),
}


@pytest.mark.parametrize("bomb", [RunsACommand, Evaluates, WritesAFile])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("container", ["pth", "legacy.pth"])
def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(bomb, place, container, tmp_path):
    marker = tmp_path / "marker"
    path = samples.save(tmp_path, PLACES[place](bomb(marker)), container)
    with pytest.raises(UnsafeFileError, match="Nothing of it was run"):
        files.read_weights(path, ADAPTER_FILE_ERRORS)
    assert not marker.exists()
    # The same file is dangerous: without our care the marker appears.
    torch.load(path, weights_only=False)
    assert marker.exists()


@pytest.mark.parametrize("suffix", PICKLES)
def test_a_bare_pickle_that_would_run_code_is_refused(suffix, tmp_path):
    marker, path = tmp_path / "marker", tmp_path / f"x.{suffix}"
    path.write_bytes(pickle.dumps(RunsACommand(marker), protocol=2))
    with pytest.raises(UnsafeFileError):
        files.read_weights(path, ADAPTER_FILE_ERRORS)
    assert not marker.exists()


def test_a_pickled_module_is_refused_with_its_class_named(tmp_path):
    torch.save(torch.nn.Conv2d(1, 1, 1), path := tmp_path / "x.pth")
    with pytest.raises(UnsafeFileError, match=r"torch\.nn\.modules\.conv\.Conv2d"):
        files.read_weights(path, ADAPTER_FILE_ERRORS)


@pytest.mark.parametrize("suffix", ["safetensors", *PICKLES])
def test_an_empty_file_is_refused(suffix, tmp_path):
    (path := tmp_path / f"x.{suffix}").touch()
    with pytest.raises(CorruptFileError, match="an empty file"):
        files.read_weights(path, ADAPTER_FILE_ERRORS)


@pytest.mark.parametrize("suffix", ["safetensors", *PICKLES])
@pytest.mark.parametrize(
    "content", [b"\0", b"<!DOCTYPE html><html>", b"version https://git-lfs", b"PK\x03\x04", b"PK\x05\x06" + bytes(18)]
)
def test_a_file_of_another_kind_is_refused(suffix, content, tmp_path):
    (path := tmp_path / f"x.{suffix}").write_bytes(content)
    with pytest.raises(CorruptFileError, match="Download the file again"):
        files.read_weights(path, ADAPTER_FILE_ERRORS)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(CorruptFileError, match="no such file"):
        files.read_weights(tmp_path / "x.safetensors", ADAPTER_FILE_ERRORS)


@pytest.mark.parametrize("suffix", PICKLES)
@pytest.mark.parametrize("content", [{}, [], [torch.zeros(1)], 3, None, "text", {"a": 1}, {"state_dict": {}}], ids=repr)
def test_a_pickle_without_a_state_dict_is_refused(suffix, content, tmp_path):
    with pytest.raises(NotAnAdapterError, match=f"a pickled {type(content).__name__} without tensors"):
        files.read_weights(samples.save(tmp_path, content, suffix), ADAPTER_FILE_ERRORS)


def test_a_safetensors_file_without_tensors_is_refused(tmp_path):
    from t2i_adapter_pack.adapter_models import loading

    with pytest.raises(NotAnAdapterError, match="no tensors at all"):
        loading.load_adapter_file(samples.save(tmp_path, {}))


def test_safetensors_with_bytes_behind_the_last_tensor_are_refused(tmp_path):
    path = tmp_path / "file.safetensors"
    save_file({"a": torch.zeros(4)}, path)
    assert list(files.read_weights(path, ADAPTER_FILE_ERRORS).tensors) == ["a"]
    path.write_bytes(path.read_bytes() + bytes(4))
    with pytest.raises(CorruptFileError):
        files.read_weights(path, ADAPTER_FILE_ERRORS)


def test_a_folder_without_a_diffusers_model_is_refused(tmp_path):
    with pytest.raises(NotAnAdapterError, match="a folder without a diffusers model"):
        files.read_weights(tmp_path, ADAPTER_FILE_ERRORS)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(NotAnAdapterError, match="a folder without a diffusers model"):
        files.read_weights(tmp_path, ADAPTER_FILE_ERRORS)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", '"x"', "null", "{'a': 1}", "[" * 100_000], ids=lambda text: text[:9]
)
def test_a_damaged_config_json_is_refused(text, tmp_path):
    samples.save(tmp_path, samples.weights(samples.full()), name="diffusion_pytorch_model")
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CorruptFileError, match="a diffusers config"):
        files.read_weights(tmp_path, ADAPTER_FILE_ERRORS)


@pytest.mark.parametrize("container", ["pth", "legacy.pth"])
def test_a_dictionary_that_contains_itself_is_refused(container, tmp_path):
    content = {"conv_in.weight": torch.zeros(1)}
    content["state_dict"] = content
    with pytest.raises(AdapterError):
        files.read_weights(samples.save(tmp_path, content, container), ADAPTER_FILE_ERRORS)
    content = {"a": torch.zeros(1)}
    content["inner"] = content
    with pytest.raises(AdapterError):
        files.read_weights(samples.save(tmp_path, content, container), ADAPTER_FILE_ERRORS)


STRANGE = {
    "without data": lambda: torch.zeros(8, device="meta"),
    "sparse": lambda: torch.eye(8).to_sparse(),
    "compressed sparse": lambda: torch.eye(8).to_sparse_csr(),
    "quantised": lambda: torch.quantize_per_tensor(torch.rand(8), 0.1, 0, torch.quint8),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("container", ["pth", "legacy.pth"])
@pytest.mark.parametrize("kind", STRANGE)
def test_tensors_that_hold_no_plain_numbers_are_refused(kind, container, tmp_path):
    from t2i_adapter_pack.adapter_models import loading

    tensors = samples.weights(samples.full(1))
    tensors["conv_in.bias"] = STRANGE[kind]()
    with pytest.raises(AdapterError):
        loading.load_adapter_file(samples.save(tmp_path, tensors, container))


def test_a_torch_file_that_was_packed_again_is_refused_or_read_right(tmp_path):
    tensors = samples.weights(samples.full(1))
    path, packed = samples.save(tmp_path, tensors, "pth"), tmp_path / "packed.pth"
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(packed, "w", method) as target:
            for record in source.namelist():
                target.writestr(record, source.read(record))
        try:
            found = files.read_weights(packed, ADAPTER_FILE_ERRORS).tensors
        except AdapterError:
            assert method == zipfile.ZIP_DEFLATED
        else:
            assert samples.same_bits(dict(found), tensors)


def test_tensors_that_share_memory_come_back_from_a_zip_as_they_were(tmp_path):
    tensors = samples.weights(samples.full(1))
    tensors["body.1.block1.bias"] = tensors["body.0.block1.bias"]
    tensors["body.0.block2.weight"] = tensors["body.0.block2.weight"].transpose(0, 1)
    assert samples.same_bits(
        dict(files.read_weights(samples.save(tmp_path, tensors, "pth"), ADAPTER_FILE_ERRORS).tensors), tensors
    )


def test_the_metadata_of_safetensors_is_read(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, path := tmp_path / "x.safetensors", {"format": "pt", "note": "é"})
    assert files.read_weights(path, ADAPTER_FILE_ERRORS).metadata == {"format": "pt", "note": "é"}


@pytest.mark.parametrize("suffix", [".pth", ".bin", ".ckpt"])
def test_safetensors_under_another_name_are_read_as_what_they_are(suffix, tmp_path):
    tensors = {"a": torch.arange(6.0)}
    path = tmp_path / f"renamed{suffix}"
    save_file(tensors, path)
    found = files.read_weights(path, ADAPTER_FILE_ERRORS)
    assert found.container == "safetensors"
    assert torch.equal(found.tensors["a"], tensors["a"])


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_that_may_not_be_read_says_so(suffix, tmp_path, monkeypatch):
    path = tmp_path / f"secret{suffix}"
    path.write_bytes(b"secret")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", refuse)  # root may read everything
    with pytest.raises(CorruptFileError, match=r"got no permission to read it; .*Change its permissions\."):
        files.read_weights(path, ADAPTER_FILE_ERRORS)


IMPOSTORS = {
    "a Git LFS pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 154406760\n",
        r"got a Git LFS pointer, the note that stands .*git lfs pull",
    ),
    "a web page": (
        b"\n<!DOCTYPE html>\n<html lang='en'><head><title>Access  to model\nis restricted</title>" + b"<p>x</p>" * 5000,
        r"got a web page saved under the model's name \('Access to model is restricted'\); .*a login, a licence",
    ),
    "an XML error": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "got a web page saved"),
    "a message in JSON": (
        b'{"error": "Repository not found"}',
        r"got a short text .*'{\"error\": \"Repository not found",
    ),
    "a message": (b"Invalid username or password.", r"perhaps a server's message \('Invalid username or password\.'\)"),
}


@pytest.mark.parametrize("suffix", ["safetensors", "pth", "ckpt"])
@pytest.mark.parametrize(("content", "message"), IMPOSTORS.values(), ids=IMPOSTORS)
def test_what_a_download_left_in_place_of_a_model_is_named(content, message, suffix, tmp_path):
    (path := tmp_path / f"x.{suffix}").write_bytes(content)
    for way in (files.read_weights, files.tensor_names):
        with pytest.raises(CorruptFileError, match=message) as caught:
            way(path, ADAPTER_FILE_ERRORS)
        assert "Download the file again" in caught.value.fix
        assert len(caught.value.got) < 200


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_a_model_in_parts_is_named_with_the_way_to_join_it(suffix, tmp_path):
    part = samples.save(tmp_path, {"conv_in.weight": torch.zeros(1)}, suffix, "diffusion_pytorch_model-00001-of-00002")
    with pytest.raises(
        NotAnAdapterError, match=r"got part 1 of 2 of a model that was saved in parts; .*max_shard_size"
    ):
        files.read_weights(part, ADAPTER_FILE_ERRORS)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(NotAnAdapterError, match=r"got a model that was saved in parts \(sharded\); expected one whole"):
        files.read_weights(tmp_path, ADAPTER_FILE_ERRORS)
    whole = samples.save(tmp_path, {"a": torch.zeros(1)}, suffix, "model-00001-of-00001")
    assert list(files.read_weights(whole, ADAPTER_FILE_ERRORS).tensors) == ["a"]
