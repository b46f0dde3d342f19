"""Loading: what is saved in any layout, wrapping, container and precision comes back bit for bit."""

import json

import pytest
import torch
from safetensors.torch import save_file
from t2i_adapter_pack.adapter_models import loading
from t2i_adapter_pack.adapter_models.errors import CorruptFileError, NotAnAdapterError
from t2i_adapter_pack.common import files, pickles

from . import others, samples

FEW = {name: samples.COMMON[name] for name in ("full 1 channel", "XL 3 channels", "light a quarter")}


def check(path, config, tensors, **options):
    """Load a file and compare everything that it says with what was written."""
    network, info = loading.load_adapter_file(path, **options)
    assert network.config == config
    assert samples.same_bits(network.state_dict(), tensors)
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert info.parameters == sum(tensor.numel() for tensor in tensors.values())
    return info


@pytest.mark.parametrize(("config", "naming"), samples.LAYOUTS.values(), ids=samples.LAYOUTS)
def test_every_layout_comes_back_bit_for_bit(config, naming, tmp_path):
    tensors = samples.weights(config)
    info = check(samples.save(tmp_path, samples.named(tensors, config, naming)), config, tensors)
    assert info.layout.startswith(naming)


@pytest.mark.parametrize("naming", ["original", "diffusers"])
@pytest.mark.parametrize("container", samples.CONTAINERS)
@pytest.mark.parametrize("config", FEW.values(), ids=FEW)
def test_every_container_comes_back_bit_for_bit(config, naming, container, tmp_path):
    tensors = samples.weights(config)
    info = check(samples.save(tmp_path, samples.named(tensors, config, naming), container), config, tensors)
    assert info.container == ("safetensors" if container in ("safetensors", "sft") else "pickle")
    assert info.dtype == "float32"


PRECISIONS = ("float32", "float16", "bfloat16", "float64", "float8_e4m3fn", "float8_e5m2")


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("container", ["safetensors", "pth", "legacy.pth"])
def test_every_precision_is_kept(precision, container, tmp_path):
    if container == "legacy.pth" and "float8" in precision:
        container = "ckpt"  # torch of that time had no such type
    tensors = samples.weights(samples.full(1), dtype=getattr(torch, precision))
    info = check(samples.save(tmp_path, tensors, container), samples.full(1), tensors)
    assert info.dtype == precision


def test_mixed_precisions_are_kept_and_told(tmp_path):
    tensors = samples.weights(samples.full(1))
    tensors = {name: tensor.half() if name.endswith("weight") else tensor for name, tensor in tensors.items()}
    assert check(samples.save(tmp_path, tensors), samples.full(1), tensors).dtype == "float16, float32"


NESTS = ("state_dict", "adapter", "model", "module", "model_state_dict")


@pytest.mark.parametrize("prefix", ["", "adapter.", "module.", "module.adapter."])
@pytest.mark.parametrize("nest", NESTS)
@pytest.mark.parametrize("container", ["pth", "legacy.ckpt"])
def test_nested_state_dicts_are_opened(nest, prefix, container, tmp_path):
    tensors = samples.weights(samples.full(1))
    content = {"epoch": 3, nest: samples.prefixed(prefix, tensors), "optimizer": {"state": {}, "lr": 1e-4}}
    check(samples.save(tmp_path, content, container), samples.full(1), tensors)


def test_a_lightning_checkpoint_with_two_nests_is_opened(tmp_path):
    tensors = samples.weights(samples.light())
    content = {"state_dict": {"adapter": tensors}, "pytorch-lightning_version": "1.5.9", "global_step": 7}
    check(samples.save(tmp_path, content, "ckpt"), samples.light(), tensors)


@pytest.mark.parametrize("container", ["safetensors", "ckpt"])
def test_each_entry_of_a_coadapter_bundle_loads(container, tmp_path):
    parts = {"sketch": samples.full(1), "depth": samples.full(3), "color": samples.light()}
    content = {"coadapter_fuser.task_embedding": torch.zeros(16, 4), "coadapter_fuser.seq_proj": torch.zeros(4, 4)}
    for seed, (name, config) in enumerate(parts.items()):
        content |= samples.prefixed(f"adapters.{name}.", samples.weights(config, seed))
    path = samples.save(tmp_path, content if container == "safetensors" else {"state_dict": content}, container)
    for seed, (name, config) in enumerate(parts.items()):
        check(path, config, samples.weights(config, seed), member=name)
    with pytest.raises(NotAnAdapterError, match="color, depth, sketch"):
        loading.load_adapter_file(path)
    with pytest.raises(NotAnAdapterError, match="color, depth, sketch"):
        loading.load_adapter_file(path, member="canny")


def folder(tmp_path, config, weights="diffusion_pytorch_model.safetensors", seed=0):
    """A diffusers folder."""
    tensors = samples.named(samples.weights(config, seed), config, "diffusers")
    (tmp_path / "config.json").write_text(json.dumps(samples.diffusers_config(config)))
    if weights.endswith(".bin"):
        torch.save(tensors, tmp_path / weights)
    else:
        save_file(tensors, tmp_path / weights)
    return tmp_path


@pytest.mark.parametrize("weights", files.DIFFUSERS_WEIGHTS)
@pytest.mark.parametrize("name", ["full 1 channel", "XL 3 channels", "XL 1 channel", "light a quarter"])
def test_a_diffusers_folder_loads(name, weights, tmp_path):
    config = samples.COMMON[name]
    path = folder(tmp_path, config, weights)
    check(path, config, samples.weights(config))
    check(path / weights, config, samples.weights(config))


def test_the_full_variant_of_a_folder_goes_before_fp16(tmp_path):
    folder(tmp_path, samples.full(1), "diffusion_pytorch_model.fp16.safetensors", seed=1)
    check(tmp_path, samples.full(1), samples.weights(samples.full(1), 1))
    folder(tmp_path, samples.full(1), seed=0)
    check(tmp_path, samples.full(1), samples.weights(samples.full(1), 0))


def test_cells_of_four_pixels_load_from_a_folder_alone(tmp_path):
    config = samples.xl(3, unshuffle=4, channels=(8, 16))
    path = folder(tmp_path, config)
    network, _ = loading.load_adapter_file(path)
    assert (network.config.unshuffle, network.config.strides) == (4, (4, 4))


@pytest.mark.parametrize(
    "name", ["t2iadapter_depth_sd14v1", "adapter-xl-openpose", "controlnet canny lora", "ñ 漢字", "x.y"]
)
def test_file_names_decide_nothing(name, tmp_path):
    for number, config in enumerate((samples.full(1), samples.xl(3), samples.light())):
        check(samples.save(tmp_path, samples.weights(config), name=f"{name}{number}"), config, samples.weights(config))


def test_the_name_that_the_user_knows_stands_in_messages(tmp_path):
    path = samples.save(tmp_path, {"foo": torch.zeros(1)})
    with pytest.raises(NotAnAdapterError, match=r"^This file is not a T2I-Adapter\.\nmy name: got an unknown file"):
        loading.load_adapter_file(path, "my name")
    with pytest.raises(NotAnAdapterError, match=r"(?m)^x\.safetensors: "):
        loading.load_adapter_file(path)


def test_the_layers_come_from_the_namespace_given(tmp_path):
    class Conv2d(torch.nn.Conv2d):
        pass

    class Operations:
        pass

    Operations.Conv2d = Conv2d
    network, _ = loading.load_adapter_file(
        samples.save(tmp_path, samples.weights(samples.full(1))), operations=Operations
    )
    layers = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)]
    assert len(layers) == 19
    assert all(type(layer) is Conv2d for layer in layers)


def test_the_metadata_says_what_the_adapter_is_for(tmp_path):
    path = tmp_path / "nonsense.safetensors"
    metadata = {"t2i_adapter.condition": "sketch", "t2i_adapter.family": "SD2.x"}
    save_file(samples.weights(samples.full(1)), path, metadata)
    _, info = loading.load_adapter_file(path)
    assert (info.condition.name, info.family, info.metadata) == ("sketch", "SD2.x", metadata)


@pytest.mark.parametrize("container", ["safetensors", "pth", "legacy.pth"])
@pytest.mark.parametrize(("what", "_", "content"), others.CASES.values(), ids=others.CASES)
def test_another_file_is_named(what, _, content, container, tmp_path):
    if container == "safetensors":
        content = pickles.flatten(content)
    with pytest.raises(NotAnAdapterError) as caught:
        loading.load_adapter_file(samples.save(tmp_path, content, container))
    assert caught.value.got == what
    assert caught.value.says == f"This file is {what}, not a T2I-Adapter."
    assert caught.value.fix == "Choose another file."
    assert caught.value.expected == "a T2I-Adapter"


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16", "float8_e5m2"])
def test_weights_that_are_not_finite_are_refused(number, precision, tmp_path):
    tensors = samples.weights(samples.full(1))
    tensors["body.3.block1.weight"][0, 1, 1, 2] = number
    path = samples.save(tmp_path, {name: tensor.to(getattr(torch, precision)) for name, tensor in tensors.items()})
    with pytest.raises(CorruptFileError, match=r"1 NaN or infinite numbers in body\.3\.block1\.weight"):
        loading.load_adapter_file(path)


def test_large_but_finite_weights_are_not_taken_for_infinite(tmp_path):
    tensors = samples.weights(samples.full(1))
    tensors["body.3.block1.weight"].fill_(3e38)
    check(samples.save(tmp_path, tensors), samples.full(1), tensors)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int8, torch.bool, torch.complex64])
def test_weights_that_are_no_floating_point_numbers_are_refused(dtype, tmp_path):
    tensors = samples.weights(samples.full(1))
    tensors["conv_in.bias"] = tensors["conv_in.bias"].to(dtype)
    with pytest.raises(CorruptFileError, match=r"conv_in\.bias of type torch"):
        loading.load_adapter_file(samples.save(tmp_path, tensors, "pth"))


@pytest.mark.parametrize("config", FEW.values(), ids=FEW)
def test_a_missing_a_foreign_and_a_misshapen_tensor_are_refused_by_name(config, tmp_path):
    tensors = samples.weights(config)
    for name in list(tensors)[::7]:
        lost = {key: tensor for key, tensor in tensors.items() if key != name}
        with pytest.raises((CorruptFileError, NotAnAdapterError)):
            loading.load_adapter_file(samples.save(tmp_path, lost))
    for name in list(tensors)[-2:]:
        bent = {**tensors, name: torch.zeros(3, *tensors[name].shape[1:])}
        with pytest.raises(CorruptFileError, match=r"got.*expected"):
            loading.load_adapter_file(samples.save(tmp_path, bent))
    with pytest.raises(CorruptFileError, match=r"body\.9\.foreign"):
        loading.load_adapter_file(samples.save(tmp_path, {**tensors, "body.9.foreign": torch.zeros(1)}))
