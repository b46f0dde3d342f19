"""The public API of adapter_models: its names are frozen, and it works without a host."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from t2i_adapter_pack import adapter_models
from t2i_adapter_pack.adapter_models import hint

from . import samples

ROOT = Path(__file__).absolute().parents[2]
# Other programs import these. Add names; removing or renaming one breaks those programs.
NAMES = {
    *("AdapterConfig", "AdapterInfo", "AdapterModule", "T2IAdapter"),
    *("AdapterError", "CorruptFileError", "FamilyMismatchError", "HintError", "NotAnAdapterError", "UnsafeFileError"),
    *("hint_features", "load_adapter", "unet_residuals"),
}
PARAMETERS = {
    "load_adapter": ["path", "member", "bgr", "device", "dtype"],
    "hint_features": ["adapter", "hint", "size", "fit"],
    "unet_residuals": ["adapter", "hint", "latent_size", "strength", "level_weights", "fit"],
    "AdapterModule": ["adapter"],
}
# What a program that only wants the library must not have to wait for, or have at all.
HEAVY = ("transformers", "diffusers", "comfy", "folder_paths", "comfy_api")
IMPORT = """
import importlib, sys, types
package = types.ModuleType("pack"); package.__path__ = [sys.argv[1]]; sys.modules["pack"] = package
importlib.import_module(f"pack.{sys.argv[2]}")
print(*(name for name in sys.argv[3:] if name in sys.modules))
"""


def test_the_names_are_frozen():
    assert set(adapter_models.__all__) == NAMES
    assert len(adapter_models.__all__) == len(NAMES)
    assert all(hasattr(adapter_models, name) for name in NAMES)


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_parameters_are_frozen(name):
    found = list(inspect.signature(getattr(adapter_models, name)).parameters)
    assert found[: len(PARAMETERS[name])] == PARAMETERS[name]


def test_no_public_name_hides_a_module():
    modules = {path.stem for path in (ROOT / "adapter_models").glob("*.py")}
    assert not modules & NAMES


@pytest.mark.parametrize("package", ["adapter_models", "annotators"])
def test_an_import_is_cheap(package):
    command = [sys.executable, "-c", IMPORT, str(ROOT), package, *HEAVY]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert answer.stdout.split() == []


@pytest.fixture(params=["full 1 channel", "full 3 channels", "XL 3 channels", "light a quarter", "full three levels"])
def config(request):
    return samples.COMMON[request.param]


@pytest.fixture
def adapter(config, tmp_path):
    return adapter_models.load_adapter(samples.save(tmp_path, samples.weights(config)))


def test_features_are_those_of_the_network(adapter, config):
    picture = torch.rand(2, 3, 128, 192)
    found = adapter_models.hint_features(adapter, picture)
    expected = adapter.network(hint.prepare_hint(picture, (128, 192), "crop", config.image_channels))
    assert len(found) == len(config.channels)
    for level, right in zip(found, expected, strict=True):
        torch.testing.assert_close(level, right, rtol=1e-4, atol=1e-4)


def test_features_are_new_tensors_each_time(adapter):
    picture = torch.rand(1, 3, 64, 64)
    first = adapter_models.hint_features(adapter, picture)
    kept = [level.clone() for level in first]
    for level in first:
        level.zero_()
    again = adapter_models.hint_features(adapter, picture)
    assert all(torch.equal(level, right) for level, right in zip(again, kept, strict=True))


def test_residuals_fit_the_latent_and_follow_the_strength(adapter, config):
    picture = torch.rand(1, 3, 100, 100)
    found = adapter_models.unet_residuals(adapter, picture, (16, 24), 0.5, level_weights=(1.0, 2.0, 0.0, 1.0))
    features = adapter_models.hint_features(adapter, picture, (128, 192))
    sizes = [(-(-128 // stride), -(-192 // stride)) for stride in config.strides]
    assert [tuple(level.shape[-2:]) for level in found] == sizes
    for level, feature, factor in zip(found, features, (0.5, 1.0, 0.0, 0.5), strict=False):
        torch.testing.assert_close(level, feature * factor)


def test_the_caller_chooses_the_precision(tmp_path):
    tensors = samples.weights(samples.full(1), dtype=torch.float16)
    file = samples.save(tmp_path, tensors)
    picture = torch.rand(1, 3, 64, 64)
    adapter = adapter_models.load_adapter(file)
    assert {level.dtype for level in adapter_models.hint_features(adapter, picture)} == {torch.float32}
    adapter.network.to(torch.bfloat16)
    assert {level.dtype for level in adapter_models.hint_features(adapter, picture)} == {torch.bfloat16}


def test_colours_are_swapped_as_the_file_or_the_caller_says(tmp_path):
    file = samples.save(tmp_path, samples.weights(samples.full(3)))
    picture = torch.rand(1, 3, 64, 64)
    swapped = adapter_models.hint_features(adapter_models.load_adapter(file, bgr=True), picture)
    plain = adapter_models.hint_features(adapter_models.load_adapter(file), picture.flip(1))
    assert all(torch.equal(level, right) for level, right in zip(swapped, plain, strict=True))


def test_what_is_not_a_picture_or_a_factor_is_refused(tmp_path):
    adapter = adapter_models.load_adapter(str(samples.save(tmp_path, samples.weights(samples.full(1)))))
    with pytest.raises(adapter_models.HintError):
        adapter_models.hint_features(adapter, torch.rand(3, 64, 64))
    with pytest.raises(adapter_models.AdapterError):
        adapter_models.unet_residuals(adapter, torch.rand(1, 3, 64, 64), (8, 8), float("nan"))
    with pytest.raises(adapter_models.CorruptFileError):
        adapter_models.load_adapter(tmp_path / "missing.safetensors")


def test_a_module_maps_a_hint_to_features(adapter, config):
    module = adapter_models.AdapterModule(adapter)
    picture = torch.rand(1, 3, 64, 64)
    expected = adapter_models.hint_features(adapter, picture)
    assert all(torch.equal(level, right) for level, right in zip(module(picture), expected, strict=True))
    assert module.downscale_factor == config.strides[-1]
    assert module.to(torch.float64).dtype == torch.float64
    assert module(picture)[0].dtype == torch.float64
