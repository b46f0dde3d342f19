"""Load T2I-Adapter: its list, its search for files, loading, and messages."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from . import tiny

pytestmark = pytest.mark.host


@pytest.fixture
def other_folder(folder, tmp_path) -> Path:
    """A folder outside of the loaders' folders, with an adapter in it."""
    path = tmp_path / "elsewhere"
    path.mkdir()
    return tiny.save_adapter(path, tiny.adapter_config(), 1)


def offered(loader: Any) -> list[str]:
    return next(one for one in loader.define_schema().inputs if one.id == "adapter_name").options


def load(loader: Any, name: str, **values: Any) -> Any:
    return loader.execute(name, **values)[0]


def save_diffusers(path: Path, seed: int = 0) -> dict[str, torch.Tensor]:
    """A diffusers folder as its save_pretrained writes it; returns the weights by their original names."""
    weights = tiny.adapter_weights(tiny.adapter_config(), seed)
    renamed = {}
    for name, tensor in weights.items():
        parts = name.split(".")
        if parts[0] == "body":
            inside = [] if parts[2] == "in_conv" else ["resnets", str(int(parts[1]) % 2)]
            parts = ["body", str(int(parts[1]) // 2), *inside, *parts[2:]]
        renamed[".".join(["adapter", *parts])] = tensor
    path.mkdir(parents=True)
    save_file(renamed, path / "diffusion_pytorch_model.safetensors")
    facts = {"_class_name": "T2IAdapter", "adapter_type": "full_adapter", "in_channels": 3, "downscale_factor": 8}
    (path / "config.json").write_text(json.dumps(facts))
    return weights


def assert_weights(adapter: Any, weights: dict[str, torch.Tensor]) -> None:
    loaded = adapter.network.state_dict()
    assert loaded.keys() == weights.keys()
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)


def save_bundle(path: Path) -> None:
    """A CoAdapter training checkpoint: several adapters in one file."""
    entries = {
        f"adapters.{condition}.{name}": tensor
        for seed, condition in enumerate(("sketch", "depth"))
        for name, tensor in tiny.adapter_weights(tiny.adapter_config(), seed).items()
    }
    if path.suffix.lower() == ".safetensors":
        save_file(entries, path)
    else:
        torch.save({"state_dict": entries}, path)


# --- the combo -------------------------------------------------------------------------------------------------------


def test_the_combo_offers_the_files_of_both_folders(folder, loader):
    tiny.save_adapter(folder / "controlnet", tiny.adapter_config(), name="a")
    (folder / "t2i_adapter" / "sd15").mkdir()
    tiny.save_adapter(folder / "t2i_adapter" / "sd15", tiny.adapter_config(), name="b")
    (folder / "controlnet" / "readme.txt").write_text("no model")
    assert sorted(offered(loader)) == ["a.safetensors", str(Path("sd15", "b.safetensors"))]


def test_a_diffusers_folder_is_one_entry_and_loads(folder, loader):
    weights = save_diffusers(folder / "controlnet" / "sketch")
    (folder / "controlnet" / "sketch" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"")
    assert offered(loader) == ["sketch"]
    assert loader.validate_inputs("sketch") is True
    assert_weights(load(loader, "sketch"), weights)


def test_the_file_in_a_diffusers_folder_may_be_named_itself(folder, loader):
    weights = save_diffusers(folder / "controlnet" / "sketch")
    name = str(Path("sketch", "diffusion_pytorch_model.safetensors"))
    assert loader.validate_inputs(name) is True
    assert_weights(load(loader, name), weights)


@pytest.mark.parametrize("name", ["co.ckpt", "co.CKPT", "co.safetensors"])
def test_the_entries_of_a_bundle_are_offered_and_load(folder, loader, name):
    save_bundle(folder / "controlnet" / name)
    entries = [f"{name}#depth", f"{name}#sketch"]
    # No list opens a pickle that nobody has chosen.
    assert offered(loader) == [name, *(entries if name.endswith("safetensors") else ())]
    assert loader.validate_inputs(name) is True
    assert offered(loader) == [name, *entries]
    for seed, condition in enumerate(("sketch", "depth")):
        assert loader.validate_inputs(f"{name}#{condition}") is True
        assert_weights(load(loader, f"{name}#{condition}"), tiny.adapter_weights(tiny.adapter_config(), seed))
    with pytest.raises(ValueError, match=rf"{name}#depth"):
        load(loader, name)


def test_a_diffusers_folder_hides_its_own_files_alone(folder, loader):
    save_diffusers(folder / "controlnet" / "sketch")
    tiny.save_adapter(folder / "controlnet" / "sketch", tiny.adapter_config(), 6, name="mine")
    assert sorted(offered(loader)) == sorted(["sketch", str(Path("sketch", "mine.safetensors"))])


def test_a_file_may_have_the_separator_of_bundles_in_its_name(folder, loader):
    tiny.save_adapter(folder / "controlnet", tiny.adapter_config(), name="take#2")
    assert offered(loader) == ["take#2.safetensors"]
    for name in ("take#2.safetensors", "elsewhere/take#2.safetensors"):
        assert loader.validate_inputs(name) is True
        assert_weights(load(loader, name), tiny.adapter_weights(tiny.adapter_config(), 0))


def test_a_new_file_appears_when_the_definitions_are_refreshed(folder, loader):
    assert offered(loader) == []
    tiny.save_adapter(folder / "controlnet", tiny.adapter_config(), name="new")
    os.utime(folder / "controlnet", (time.time() + 5, time.time() + 5))  # a second write within the clock's tick
    assert offered(loader) == ["new.safetensors"]


# --- finding and replacing -------------------------------------------------------------------------------------------


def test_a_shared_workflow_finds_the_file_in_another_subfolder(folder, loader):
    (folder / "t2i_adapter" / "mine").mkdir()
    tiny.save_adapter(folder / "t2i_adapter" / "mine", tiny.adapter_config(), 4, name="a")
    for name in ("a.safetensors", "yours/a.safetensors", "yours\\a.safetensors"):
        assert loader.validate_inputs(name) is True
        assert_weights(load(loader, name), tiny.adapter_weights(tiny.adapter_config(), 4))


def test_of_two_files_of_that_name_none_is_guessed(folder, loader):
    for number, place in enumerate(("mine", "hers")):
        (folder / "t2i_adapter" / place).mkdir()
        tiny.save_adapter(folder / "t2i_adapter" / place, tiny.adapter_config(), number, name="a")
    for name in ("hers/a.safetensors", "hers\\a.safetensors"):  # as Windows writes it
        assert_weights(load(loader, name), tiny.adapter_weights(tiny.adapter_config(), 1))
    assert "several files of that name" in loader.validate_inputs("a.safetensors")


def test_a_name_that_all_diffusers_files_have_stands_for_no_other(folder, loader):
    (folder / "controlnet" / "canny").mkdir()
    tiny.save_adapter(folder / "controlnet" / "canny", tiny.adapter_config(), name="diffusion_pytorch_model")
    assert loader.validate_inputs(str(Path("canny", "diffusion_pytorch_model.safetensors"))) is True
    assert "no such file" in loader.validate_inputs("sketch/diffusion_pytorch_model.safetensors")


def test_a_name_that_a_link_brings_is_looked_up_when_it_is_there(folder, loader):
    assert loader.validate_inputs() is True
    assert loader.fingerprint_inputs(color_order="auto", dtype="auto") is None


def test_values_that_a_link_brings_are_checked(folder, loader):
    tiny.save_adapter(folder / "controlnet", tiny.adapter_config(), name="a")
    for given in ({"color_order": "gbr"}, {"dtype": "fp8"}):
        with pytest.raises(ValueError, match=r"Load T2I-Adapter, .*: got '.*'; expected one of auto,"):
            loader.execute("a.safetensors", **given)


def test_a_missing_file_says_what_to_do(folder, loader):
    tiny.save_adapter(folder / "controlnet", tiny.adapter_config(), name="a")
    message = loader.validate_inputs("gone.safetensors")
    assert message == (
        "This file is not in ComfyUI's folders.\n"
        "adapter_name 'gone.safetensors': got no such file; expected one of 1 files in models/controlnet and "
        "models/t2i_adapter. Put the file there and refresh the node definitions (R)."
    )


@pytest.mark.parametrize("name", ["../elsewhere/adapter.safetensors", "{path}", "..", ".", ""])
def test_no_name_leads_out_of_the_model_folders(other_folder, loader, name):
    assert other_folder.is_file()
    assert isinstance(loader.validate_inputs(name.format(path=other_folder)), str)


def test_a_name_of_a_folder_elsewhere_is_no_diffusers_folder(folder, loader):
    save_diffusers(folder / "elsewhere" / "sketch")
    for name in ("../elsewhere/sketch", str(folder / "elsewhere" / "sketch")):
        assert isinstance(loader.validate_inputs(name), str)


def test_a_replaced_file_is_loaded_again(folder, loader):
    config = tiny.adapter_config()
    path = tiny.save_adapter(folder / "controlnet", config, 0, name="a")
    before = loader.fingerprint_inputs("a.safetensors", "auto", "auto")
    assert before == loader.fingerprint_inputs("a.safetensors", "auto", "auto")
    old = load(loader, "a.safetensors")
    shutil.move(tiny.save_adapter(folder, config, 1, name="next"), path)
    assert before != loader.fingerprint_inputs("a.safetensors", "auto", "auto")
    assert_weights(load(loader, "a.safetensors"), tiny.adapter_weights(config, 1))
    assert_weights(old, tiny.adapter_weights(config, 0))


# --- the choices -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name", "order", "bgr"),
    [
        ("SDXL", "t2i-adapter-openpose-sdxl-1.0", "auto", True),
        ("SDXL", "t2i-adapter_xl_openpose", "auto", True),
        ("SDXL", "t2i-adapter-sketch-sdxl-1.0", "auto", False),
        ("SDXL", "t2i-adapter-openpose-sdxl-1.0", "rgb", False),
        ("SD", "t2iadapter_openpose_sd14v1", "auto", False),
        ("SD", "t2iadapter_openpose_sd14v1", "bgr", True),
        ("SDXL", "adapter", "auto", False),
    ],
)
def test_colours_are_swapped_for_sdxl_pose_adapters_alone(folder, loader, kind, name, order, bgr):
    tiny.save_adapter(folder / "controlnet", tiny.adapter_config(kind), name=name)
    assert load(loader, f"{name}.safetensors", color_order=order).bgr is bgr


def loaded_in_words(folder: Path, loader: Any, caplog: Any, name: str, config: Any, **values: Any) -> str:
    caplog.set_level(logging.INFO)
    tiny.save_adapter(folder / "controlnet", config, name=name)
    load(loader, f"{name}.safetensors", **values)
    return str(caplog.text)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("adapter-xl-openpose", "Colour order: bgr, taken from the file's name (adapter-xl-openpose.safetensors: SDXL, "
         "openpose). If the file was renamed, choose rgb or bgr in color_order."),
        ("t2i-adapter-sketch-sdxl-1.0", "Colour order: rgb, taken from the file's name"),
        ("renamed", "Colour order: neither renamed.safetensors nor its name tells, so rgb is assumed. If this is an "
         "openpose adapter for SDXL, choose bgr in color_order; if not, choose rgb."),
    ],
)  # fmt: skip
def test_a_name_never_decides_the_colours_in_silence(folder, loader, caplog, name, words):
    """Published SDXL adapters are identified only by their file names."""
    assert words in loaded_in_words(folder, loader, caplog, name, tiny.adapter_config("SDXL"))
    caplog.clear()
    for order in ("rgb", "bgr"):
        load(loader, f"{name}.safetensors", color_order=order)
    assert "Colour order" not in caplog.text


def test_the_colours_of_a_renamed_pose_adapter_change_with_a_warning(folder, loader, caplog):
    config = tiny.adapter_config("SDXL")
    tiny.save_adapter(folder / "controlnet", config, name="t2i-adapter-openpose-sdxl-1.0")
    assert load(loader, "t2i-adapter-openpose-sdxl-1.0.safetensors").bgr
    shutil.move(folder / "controlnet" / "t2i-adapter-openpose-sdxl-1.0.safetensors", folder / "controlnet" / "a.sft")
    assert not load(loader, "a.sft").bgr
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_the_running_node_shows_it(folder, loader, monkeypatch):
    from t2i_adapter_pack.nodes import host

    shown = []
    monkeypatch.setattr(host, "tell", lambda *values: shown.append(values))
    monkeypatch.setattr(host, "running_node", lambda: "7")
    tiny.save_adapter(folder / "controlnet", tiny.adapter_config("SDXL"), name="adapter-xl-openpose")
    load(loader, "adapter-xl-openpose.safetensors")
    assert [node for _, node in shown] == ["7"]


@pytest.mark.parametrize(
    ("kind", "channels", "name", "metadata"),
    [
        ("SD", 3, "renamed", None),
        ("SD", 3, "t2iadapter_openpose_sd14v1", None),
        ("SDXL", 1, "renamed", None),
        ("SDXL", 3, "renamed", {"t2i_adapter.color_order": "bgr"}),
        ("SDXL", 3, "adapter-xl-openpose", {"t2i_adapter.color_order": "rgb"}),
    ],
)
def test_where_the_content_decides_nothing_is_said(folder, loader, caplog, kind, channels, name, metadata):
    caplog.set_level(logging.INFO)
    path = tiny.save_adapter(folder / "controlnet", tiny.adapter_config(kind, channels), name=name)
    save_file(load_file(path), path, metadata)
    adapter = load(loader, path.name)
    assert adapter.bgr is (metadata == {"t2i_adapter.color_order": "bgr"})
    assert "Colour order" not in caplog.text


def test_info_tells_what_goes_with_the_name(folder, loader):
    from t2i_adapter_pack.nodes.loading.description import describe

    place, config = folder / "controlnet", tiny.adapter_config("SDXL")
    for name in ("adapter-xl-openpose", "renamed"):
        tiny.save_adapter(place, config, name=name)
    tiny.save_adapter(place, tiny.adapter_config(), name="t2iadapter_color_sd14v1")
    text = describe(load(loader, "adapter-xl-openpose.safetensors"))
    assert "image channels: 3 (BGR)" in text
    assert text.endswith("taken from the file's name: condition, order of colours")
    assert describe(load(loader, "adapter-xl-openpose.safetensors", color_order="rgb")).endswith("name: condition")
    text = describe(load(loader, "t2iadapter_color_sd14v1.safetensors"))
    assert text.endswith("taken from the file's name: family, condition")
    assert "3 (RGB, assumed: neither the file nor its name tells)" in describe(load(loader, "renamed.safetensors"))
    assert "image channels: 3 (BGR)" in describe(load(loader, "renamed.safetensors", color_order="bgr"))


@pytest.mark.parametrize(("order", "written"), [("auto", None), ("rgb", None), ("bgr", "bgr")])
def test_what_was_assumed_does_not_become_a_fact_when_it_is_saved(folder, loader, order, written):
    from t2i_adapter_pack.nodes.training.adapter_files import write_adapter

    tiny.save_adapter(folder / "controlnet", tiny.adapter_config("SDXL"), name="renamed")
    adapter = load(loader, "renamed.safetensors", color_order=order)
    path = write_adapter(adapter, folder / "controlnet" / "copy", "original", torch.float32)
    with safe_open(path, "pt") as file:
        assert file.metadata().get("t2i_adapter.color_order") == written


@pytest.mark.parametrize(
    ("choice", "dtype"), [("auto", None), ("fp32", torch.float32), ("fp16", torch.float16), ("bf16", torch.bfloat16)]
)
def test_the_dtype_reaches_the_adapter(folder, loader, choice, dtype):
    tiny.save_adapter(folder / "controlnet", tiny.adapter_config(), name="a")
    assert load(loader, "a.safetensors", dtype=choice).dtype is dtype


@pytest.mark.parametrize("context", [768, 1024])
@pytest.mark.parametrize("name", ["t2iadapter_sketch_sd15v2", "sketch_sd21", "sketch"])
def test_sd1_adapters_on_sd2_are_told_of_and_the_other_way_round(folder, loader, caplog, context, name):
    """The shapes fit, so the adapter applies; the file name shows that it was made for another model."""
    tiny.save_adapter(folder / "controlnet", tiny.adapter_config(), name=name)
    model = tiny.model("SD", context_dim=context)
    assert tiny.apply(model, load(loader, f"{name}.safetensors"), tiny.hint(64, 64)) is not model
    misfit = {"t2iadapter_sketch_sd15v2": 1024, "sketch_sd21": 768}.get(name) == context
    assert len([record for record in caplog.records if "made for" in record.message]) == misfit
    assert ("it may follow badly" in caplog.text) == misfit


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("t2iadapter_sketch_sd15v2", "SD", "SD1.x, sketch. Expects white sketch lines on black."),
        ("renamed", "SD", "SD1.x / SD2.x, condition not named."),
        ("t2i-adapter-openpose-sdxl-1.0", "SDXL", "SDXL, openpose. Expects OpenPose body skeleton on black."),
    ],
)
def test_the_node_says_family_and_condition(folder, loader, monkeypatch, name, kind, words):
    from t2i_adapter_pack.nodes import host
    from t2i_adapter_pack.nodes.info import T2IAdapterInfo
    from t2i_adapter_pack.nodes.loading.description import describe

    shown = []
    monkeypatch.setattr(host, "show", lambda text, node: shown.append((node, text)))
    monkeypatch.setattr(host, "running_node", lambda: "7")
    tiny.save_adapter(folder / "controlnet", tiny.adapter_config(kind), name=name)
    adapter = load(loader, f"{name}.safetensors")
    assert shown[-1][0] == "7"
    assert shown[-1][1].splitlines()[0] == words
    assert ("Colour order" in shown[-1][1]) == (kind == "SDXL")
    assert T2IAdapterInfo.execute(adapter)[1] == describe(adapter)
    assert shown[-1] == ("7", describe(adapter))
