"""Create T2I-Adapter and Save T2I-Adapter inside ComfyUI: new adapters fit, and other loaders read the files."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from t2i_adapter_pack.adapter_models.errors import AdapterError, FamilyMismatchError
from t2i_adapter_pack.training.errors import CheckpointError

from . import tiny
from .lessons import create, equal, features, save, train, weights

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("output")]


@pytest.mark.parametrize("kind", ["SD", "SDXL", "refiner", "one block", "no middle"])
@pytest.mark.parametrize("size", ["base", "small", "tiny"])
def test_a_new_adapter_applies_to_its_model(kind, size):
    model = tiny.model(kind)
    adapter = create(model, size=size, image_channels="1", kind="depth")
    assert adapter.network.config.image_channels == 1
    assert adapter.info.condition.name == "depth"
    assert torch.isfinite(tiny.sample(tiny.apply(model, adapter, tiny.hint(64, 64)), tiny.latent(8, 8), steps=1)).all()


def test_the_seed_decides_the_new_weights_and_leaves_torchs_own_generator(sd):
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    first = create(sd, seed=5)
    assert torch.equal(torch.rand(1), expected)
    assert equal(first, create(sd, seed=5))
    assert not equal(first, create(sd, seed=6))


def test_models_that_are_no_such_unet_are_refused(inside_comfyui):
    with pytest.raises(FamilyMismatchError):
        create(tiny.other_models()["StageC"])


def test_the_kinds_are_those_that_files_can_name(sd):
    from t2i_adapter_pack.nodes.training.adapter_files import TRAINED_CONDITIONS

    for kind in TRAINED_CONDITIONS:
        condition = create(sd, kind=kind).info.condition
        assert (condition.name if condition else "other") == kind


def seen(adapter, image):
    """Features as a picture in RGB gives them: a gray adapter sees its luma, a BGR one has red and blue swapped."""
    from t2i_adapter_pack.adapter_models.hint import prepare_hint

    channels = adapter.network.config.image_channels
    return features(adapter, prepare_hint(image, image.shape[-2:], "stretch", channels, bgr=adapter.bgr))


@pytest.mark.parametrize("kind", ["SD", "SDXL"])
@pytest.mark.parametrize("size", ["base", "small"])
@pytest.mark.parametrize(("have", "want"), [("1", "1"), ("1", "3"), ("3", "3"), ("3", "1")])
def test_a_new_adapter_begins_as_another_one_sees(models, kind, size, have, want):
    start = create(models[kind], size=size, image_channels=have, kind="sketch", seed=3)
    begun = create(models[kind], size=size, image_channels=want, kind="segmentation", seed=4, start_from=start)
    assert begun.info.condition.name == "segmentation"
    assert begun.network.config.image_channels == int(want)
    image = torch.rand(1, 1 if have > want else 3, 64, 64)
    expected = seen(start, image)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(seen(begun, image), expected, strict=True))


def test_what_a_begun_adapter_learns_is_its_own(sd):
    start = create(sd, seed=3)
    before = {name: tensor.clone() for name, tensor in weights(start).items()}
    begun = create(sd, start_from=start)
    assert not equal(train(sd, begun, steps=1)[0], start)
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(start).items())


def test_one_that_takes_bgr_begins_one_that_takes_rgb(sdxl):
    start = dataclasses.replace(create(sdxl, kind="openpose", seed=3), bgr=True)
    begun = create(sdxl, kind="openpose", start_from=start)
    assert not begun.bgr
    image = torch.rand(1, 3, 64, 64)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(seen(begun, image), seen(start, image), strict=True))


def test_an_adapter_of_another_shape_begins_none(sd, sdxl):
    small, other = create(sd, size="small"), create(sdxl)
    for start in (small, other):
        with pytest.raises(AdapterError, match=r"start_from: got a new adapter .*; expected an adapter like the new"):
            create(sd, size="tiny", start_from=start)


# --- Save ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["SD", "SDXL"])
def test_a_saved_adapter_is_the_same_in_our_loader_core_and_diffusers(models, output, kind):
    import comfy.controlnet
    import comfy.utils
    from diffusers import T2IAdapter
    from t2i_adapter_pack.nodes.loading import adapters

    adapter = train(models[kind], create(models[kind], size="base", kind="openpose"))[0]
    save(adapter, filename_prefix="here/mine")
    save(adapter, filename_prefix="here/mine", format="diffusers")
    file, folder = output / "here" / "mine_00001_.safetensors", output / "here" / "mine_00002_"
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "diffusion_pytorch_model.safetensors"]
    image = torch.rand(1, 3, 64, 128)
    expected = features(adapter, image)
    for path in (file, folder):
        loaded = adapters.wrap_adapter(path, path.name, None, bgr=None, dtype=None)
        assert all(torch.equal(a, b) for a, b in zip(features(loaded, image), expected, strict=True))
        assert loaded.info.condition.name == "openpose"
        # The published SDXL pose adapters take BGR; this one was trained with RGB.
        assert not loaded.bgr
        weights_file = path / "diffusion_pytorch_model.safetensors" if path.is_dir() else path
        control = comfy.controlnet.load_t2i_adapter(comfy.utils.load_torch_file(str(weights_file)))
        parts = control.t2i_model(image)
        # Coarse to fine: core takes them from the end.
        core = [one for part in ("middle", "input") for one in parts.get(part, []) if one is not None][::-1]
        assert all(torch.equal(a, b) for a, b in zip(core, expected, strict=True))
    with torch.no_grad():
        theirs = T2IAdapter.from_pretrained(str(folder))(image)
    assert all(torch.equal(a, b) for a, b in zip(theirs, expected, strict=True))


def test_the_order_of_colours_it_was_trained_with_follows_it(sdxl, output):
    from t2i_adapter_pack.nodes.loading import adapters

    published = adapters.wrap_adapter(
        tiny.save_adapter(output, tiny.adapter_config("SDXL"), name="adapter-xl-openpose"), "adapter-xl-openpose", None,
        bgr=None, dtype=None,
    )  # fmt: skip
    switched = dataclasses.replace(published, bgr=False)
    for name, adapter, order in (
        ("new", create(sdxl, kind="openpose"), False),
        ("further", train(sdxl, published, run_name="further")[0], True),
        ("switched", train(sdxl, switched, run_name="switched")[0], False),
        ("converted", switched, True),  # saved as it is: the switch of the loader is not in its weights
    ):
        save(adapter, filename_prefix=name)
        path = output / f"{name}_00001_.safetensors"
        loaded = adapters.wrap_adapter(path, path.name, None, bgr=None, dtype=None)
        assert loaded.bgr is loaded.info.bgr is adapter.info.bgr is order, name


def test_core_loads_the_small_size_at_the_published_widths(output):
    """Its loader knows those widths alone, so this one network is large; there is no tiny one in it."""
    import comfy.controlnet
    import comfy.utils
    from t2i_adapter_pack.nodes.training.adapter_files import new_adapter

    widths = (320, 640, 1280, 1280)
    for divisor, name in ((4, "small_00001_.safetensors"), (8, "tiny_00001_.safetensors")):
        inner = tuple(width // divisor for width in widths)
        config = tiny.adapter_config(kind="light", channels=widths, inner_channels=inner, num_res_blocks=4)
        adapter = new_adapter(config, "color", "SD1.x", 0)
        save(adapter, filename_prefix=name.partition("_")[0])
        tensors = comfy.utils.load_torch_file(str(output / name))
        if divisor == 8:
            with pytest.raises(RuntimeError):
                comfy.controlnet.load_t2i_adapter(tensors)
            continue
        image = torch.rand(1, 3, 64, 64)
        parts = comfy.controlnet.load_t2i_adapter(tensors).t2i_model(image)["input"]
        core = [level for level in parts if level is not None][::-1]
        assert all(torch.equal(a, b) for a, b in zip(core, features(adapter, image), strict=True))


def test_names_are_numbered_and_stay_in_the_output_folder(sd, output):
    adapter = create(sd)
    for _ in range(2):
        save(adapter, filename_prefix="a/b", dtype="fp16")
    assert sorted(path.name for path in (output / "a").iterdir()) == ["b_00001_.safetensors", "b_00002_.safetensors"]
    for prefix in ("../out", "", "/", "a/../../b", "..\\up", "/absolute/x"):
        with pytest.raises(CheckpointError, match="filename_prefix"):
            save(adapter, filename_prefix=prefix)


def test_layouts_that_can_not_hold_it_are_told_and_nothing_is_written(sd, output):
    with pytest.raises(AdapterError, match="Set format to original"):
        save(create(sd, size="tiny"), format="diffusers")
    assert [path for path in output.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16"])
def test_precision_of_the_file(sd, output, dtype):
    from t2i_adapter_pack.adapter_models.loading import load_adapter_file
    from t2i_adapter_pack.nodes.load import COMPUTE_DTYPES

    save(create(sd), filename_prefix="x", dtype=dtype)
    assert load_adapter_file(output / "x_00001_.safetensors")[1].dtype == str(COMPUTE_DTYPES[dtype]).removeprefix(
        "torch."
    )
