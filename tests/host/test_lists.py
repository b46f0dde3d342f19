"""The loaders' lists cover files that nobody has chosen, so they are cheap and trust nothing."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from . import tiny
from .test_loader import assert_weights, load, offered, save_bundle

pytestmark = pytest.mark.host


@pytest.mark.parametrize("name", ["co.ckpt", "co.safetensors"])
def test_an_entry_that_a_bundle_lacks_is_refused_before_anything_runs(folder, loader, name):
    save_bundle(folder / "controlnet" / name)
    message = loader.validate_inputs(f"{name}#canny")
    assert "got a CoAdapter bundle of depth, sketch; expected an entry 'canny' in it" in message
    tiny.save_adapter(folder / "controlnet", tiny.adapter_config(), name="a")
    assert "got a file without entries" in loader.validate_inputs("a.safetensors#canny")


def test_a_list_does_not_touch_what_is_in_pickles(folder, loader, monkeypatch):
    from t2i_adapter_pack.common import containers

    def refuse(*_, **__):
        raise AssertionError("a pickle was opened for a list")

    for number, suffix in enumerate(("ckpt", "pth", "bin", "pt")):
        save_bundle(folder / "controlnet" / f"{number}.{suffix}")
    monkeypatch.setattr(torch, "load", refuse)
    monkeypatch.setattr(containers.zipfile, "is_zipfile", refuse)
    assert len(offered(loader)) == 4


def test_dictionaries_that_refer_to_each_other_thirty_deep_stop_nothing(folder, loader):
    """Visiting every reference would take 2^30 steps."""
    inner: dict[str, Any] = {"a": torch.zeros(1)}
    for _ in range(30):
        inner = {"a": inner, "b": inner}
    for name in ("trap.ckpt", "old.ckpt"):
        path = folder / "controlnet" / name
        torch.save(inner, path, _use_new_zipfile_serialization=name == "trap.ckpt")
        assert path.stat().st_size < 4000
    started = time.monotonic()
    assert sorted(offered(loader)) == ["old.ckpt", "trap.ckpt"]
    for name in ("trap.ckpt", "old.ckpt"):
        assert loader.validate_inputs(name) is True
        assert "nested too deep" in loader.validate_inputs(f"{name}#sketch")
        with pytest.raises(ValueError, match="nested too deep"):
            load(loader, name)
    assert time.monotonic() - started < 5


def test_a_list_reads_no_long_header_and_ends_in_time(folder, loader, monkeypatch):
    from t2i_adapter_pack.nodes.loading import bundles, model_files

    save_bundle(folder / "controlnet" / "co.safetensors")
    long = {f"adapters.{number:0100}.x": torch.zeros(0) for number in range(10_000)}
    save_file(long, folder / "controlnet" / "long.safetensors")
    many = {f"adapters.{number}.x": torch.zeros(0) for number in range(100)}
    save_file(many, folder / "controlnet" / "many.safetensors")
    entries = ["co.safetensors#depth", "co.safetensors#sketch"]
    files = ["co.safetensors", "long.safetensors", "many.safetensors"]
    assert sorted(offered(loader)) == sorted([*files, *entries])
    monkeypatch.setattr(model_files, "BUNDLES", bundles.Bundles())
    monkeypatch.setattr(model_files, "LISTING_SECONDS", -1.0)
    assert sorted(offered(loader)) == files


def test_what_is_no_file_is_not_waited_for(folder, loader):
    for name in ("pipe.safetensors", "pipe.ckpt"):
        getattr(os, "mkfifo", os.mkdir)(folder / "controlnet" / name)  # Windows has no such files
    (folder / "controlnet" / "gone.safetensors").symlink_to(folder / "nowhere")
    offered(loader)
    for name in ("pipe.safetensors", "pipe.ckpt", "gone.safetensors"):
        assert "no such file" in str(loader.validate_inputs(name))


def test_one_file_that_links_lead_to_by_several_names_is_one(folder, loader):
    (folder / "t2i_adapter" / "mine").mkdir()
    path = tiny.save_adapter(folder / "t2i_adapter" / "mine", tiny.adapter_config(), 4, name="a")
    (folder / "t2i_adapter" / "mine" / "again").symlink_to(folder / "t2i_adapter", target_is_directory=True)
    (folder / "controlnet" / "linked").mkdir()
    os.link(path, folder / "controlnet" / "linked" / "a.safetensors")
    assert len(offered(loader)) > 30  # ComfyUI follows the link until the system refuses
    assert loader.validate_inputs("yours/a.safetensors") is True
    assert_weights(load(loader, "yours/a.safetensors"), tiny.adapter_weights(tiny.adapter_config(), 4))


def test_many_files_of_one_name_are_told_in_a_few_words(folder, loader):
    for number in range(20):
        place = folder / "controlnet" / (f"{number:02}" * 40)
        place.mkdir()
        tiny.save_adapter(place, tiny.adapter_config(), number, name="a")
    message = loader.validate_inputs("a.safetensors")
    assert "and 17 more" in message
    assert len(message) < 400
    assert len(loader.validate_inputs("x" * 10_000)) < 500


def test_lists_of_styles_and_fusers_begin_with_theirs(folder, monkeypatch):
    """By headers, and of pickles by name; the rest keeps its order."""
    import folder_paths
    from t2i_adapter_pack.nodes.loading.bundles import _has_tensor
    from t2i_adapter_pack.nodes.loading.model_files import FUSER_FILES, STYLE_FILES, file_names

    _, suffixes = folder_paths.folder_names_and_paths["style_models"]
    styles = folder / "style_models"
    styles.mkdir()
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "style_models", ([str(styles)], suffixes))
    one = {"a": torch.zeros(1)}
    for path, tensors in {
        folder / "controlnet" / "a.safetensors": one,
        folder / "controlnet" / "m.safetensors": {"seq_proj": torch.zeros(1)},
        folder / "controlnet" / "style_by_name_alone.safetensors": one,
        folder / "controlnet" / "z.safetensors": {"adapter.style_embedding": torch.zeros(1)},
    }.items():
        save_file(tensors, path)
    (styles / "coadapter-style-sd15v1.pth").write_bytes(b"a pickle is not opened")
    (styles / "redux.pth").write_bytes(b"a pickle is not opened")
    style, fuser = file_names(STYLE_FILES), file_names(FUSER_FILES)
    assert style[:2] == ["coadapter-style-sd15v1.pth", "z.safetensors"]
    assert fuser[0] == "m.safetensors"
    assert sorted(style) == sorted(fuser)
    rest = [name for name in style[2:] if name in style]
    assert rest == ["redux.pth", "a.safetensors", "m.safetensors", "style_by_name_alone.safetensors"]
    reads = _has_tensor.cache_info().misses
    file_names(STYLE_FILES)
    assert _has_tensor.cache_info().misses == reads  # files are read once
