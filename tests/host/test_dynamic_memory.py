"""A MODEL with dynamic VRAM, ComfyUI's default on NVIDIA GPUs: the pack never makes it load a second one without.

A CPU has no dynamic VRAM. The fake imitates ComfyUI's patcher: it can't switch dynamic VRAM off, as if its loader had
registered no way to reload the model, and it refuses hooks that change weights.
"""

from __future__ import annotations

import gc
from typing import Any

import pytest
import torch

from . import oracle, tiny

pytestmark = pytest.mark.host
PIXELS, LATENT = (128, 128), (16, 16)


def dynamic(kind: str = "SD") -> Any:
    """A MODEL whose patcher reports dynamic VRAM."""
    import comfy.model_patcher

    class DynamicDouble(comfy.model_patcher.ModelPatcher):
        def is_dynamic(self) -> bool:
            return True

        def clone(self, disable_dynamic: bool = False, *args: Any, **kwargs: Any) -> Any:
            if disable_dynamic:
                raise RuntimeError("Cannot create non-dynamic delegate: cached_patcher_init is not initialized.")
            return super().clone(*args, **kwargs)

        def get_non_dynamic_delegate(self) -> Any:
            return self.clone(disable_dynamic=True)

        def patch_hook_weight_to_device(self, *args: Any, **kwargs: Any) -> None:
            raise RuntimeError("Hooks not implemented in ModelPatcherDynamic.")

        def unpatch_hooks(self, *args: Any, **kwargs: Any) -> None:
            pass

    model = tiny.model(kind)
    model.__class__ = DynamicDouble
    return model


def prompts(adapter: Any, image: torch.Tensor, *, weights: Any = None, positive: Any = None) -> dict[str, Any]:
    from t2i_adapter_pack.nodes.as_controlnet import T2IAdapterToControlNet

    net = T2IAdapterToControlNet.execute(adapter, weights)[0]
    first, second = tiny.apply_core(positive or tiny.conditioning(1), tiny.conditioning(2), net, image)
    return {"positive": first, "negative": second}


@pytest.mark.parametrize("kind", ["SD", "SDXL"])
@pytest.mark.parametrize("case", ["alike", "sides", "steps", "area"])
def test_a_control_net_gives_the_picture_of_the_model_route(inside_comfyui, kind, case):
    from t2i_adapter_pack.nodes.weights import T2IAdapterSchedule, T2IAdapterWeights

    adapter, image = tiny.adapter(tiny.adapter_config(kind)), tiny.hint(*PIXELS)
    weights = {
        "sides": T2IAdapterWeights.execute(positive=0.5, negative=2.0)[0],
        "steps": T2IAdapterSchedule.execute(1.0, 0.0, "linear", unit="sampling steps")[0],
    }.get(case)
    part = tiny.conditioning(1, area=(8, 8, 4, 8), strength=1.0) if case == "area" else tiny.conditioning(1)
    values = {"weights": weights, "positive": part}
    result = tiny.sample(dynamic(kind), tiny.latent(*LATENT), **prompts(adapter, image, **values))
    direct = tiny.sample(
        tiny.apply(dynamic(kind), adapter, image, weights=weights), tiny.latent(*LATENT), positive=part
    )
    assert torch.equal(result, direct)


def test_hooks_of_others_still_count(inside_comfyui):
    """Hooks that change weights can't do with dynamic memory; the fake shows that it is asked, and so told of ours."""
    import comfy.hooks

    adapter, image = tiny.adapter(tiny.adapter_config()), tiny.hint(*PIXELS)
    given = prompts(adapter, image)
    hooks = comfy.hooks.HookGroup()
    hooks.add(comfy.hooks.WeightHook())
    given["positive"] = comfy.hooks.set_hooks_for_conditioning(given["positive"], hooks)
    with pytest.raises(RuntimeError, match="non-dynamic delegate"):
        tiny.sample(dynamic(), tiny.latent(*LATENT), **given)


def test_a_control_names_the_hooks_of_those_before_it_alone(inside_comfyui):
    from t2i_adapter_pack.nodes.as_controlnet import T2IAdapterToControlNet

    net = T2IAdapterToControlNet.execute(tiny.adapter(tiny.adapter_config()))[0]
    before = tiny.core_control(tiny.adapter_config())
    assert net.get_extra_hooks() == []
    net.set_previous_controlnet(before)
    assert net.get_extra_hooks() == []
    before.extra_hooks = hooks = object()
    assert net.get_extra_hooks() == [hooks]


def test_a_prompt_with_the_control_shares_a_call_with_the_other(inside_comfyui):
    """Hooks of a prompt would part the two sides of the guidance."""
    from t2i_adapter_pack.nodes.as_controlnet import T2IAdapterToControlNet

    net = T2IAdapterToControlNet.execute(tiny.adapter(tiny.adapter_config()))[0]
    first, second = tiny.apply_core(tiny.conditioning(1), tiny.conditioning(2), net, tiny.hint(*PIXELS))
    calls = oracle.chunks_of_calls(
        tiny.model(), lambda model: tiny.sample(model, tiny.latent(*LATENT), steps=1, positive=first, negative=second)
    )
    assert calls == [[1, 0]]


class Buffer:
    """Memory that its owner frees, as the pinned buffers and the virtual memory of ComfyUI: twice is a crash."""

    def __init__(self, freed: list[int], number: int) -> None:
        self.free, self.number = freed.append, number  # a copy, too, frees the same

    def __del__(self) -> None:
        self.free(self.number)


@pytest.mark.parametrize("kind", ["full", "light"])
def test_a_copy_for_another_device_frees_no_memory_of_the_first(inside_comfyui, kind):
    from t2i_adapter_pack.nodes.loading.adapters import copy_for

    changes = {"kind": "light", "inner_channels": (8, 16, 32, 32)} if kind == "light" else {}
    freed: list[int] = []
    adapter = tiny.adapter(tiny.adapter_config(**changes))
    adapter.network.dynamic_pins = {"cpu": Buffer(freed, 0)}
    layers = [layer for layer in adapter.network.modules() if isinstance(layer, torch.nn.Conv2d)]
    for number, layer in enumerate(layers, start=1):
        layer._v = Buffer(freed, number)
    copied = copy_for(adapter, torch.device("cpu"))
    assert not any(hasattr(module, "_v") or hasattr(module, "dynamic_pins") for module in copied.network.modules())
    assert copied.patcher is not adapter.patcher
    hint, size, device = torch.rand(1, 3, 64, 64), (64, 64), torch.device("cpu")
    made = [each.compute(hint, size, "crop", device=device, dtype=torch.float32) for each in (adapter, copied)]
    assert all(torch.equal(*pair) for pair in zip(made[0].levels, made[1].levels, strict=True))
    storages = {parameter.data_ptr() for parameter in adapter.network.parameters()}
    assert not storages & {parameter.data_ptr() for parameter in copied.network.parameters()}
    del copied, made
    assert freed == []
    del adapter, layers, layer
    gc.collect()
    assert sorted(freed) == list(range(len(freed)))
    assert len(freed) > 5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_copy_keeps_the_precision_of_the_file(inside_comfyui, dtype):
    from t2i_adapter_pack.nodes.loading.adapters import copy_for

    adapter = tiny.adapter(tiny.adapter_config())
    adapter.network.to(dtype)
    copied = copy_for(adapter, torch.device("cpu"))
    assert {parameter.dtype for parameter in copied.network.parameters()} == {dtype}
    assert not any(parameter.requires_grad for parameter in copied.network.parameters())
    assert not copied.network.training
    assert copied.bgr is adapter.bgr
    assert copied.info is adapter.info
