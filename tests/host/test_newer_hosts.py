"""Features of ComfyUI's newest sources, imitated by fakes in the newest complete version."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from t2i_adapter_pack.training.errors import TrainingError

from . import tiny
from .lessons import create, equal, train
from .test_control import control, prompts

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("output")]
LATENT, PIXELS = (8, 16), (64, 128)


class Container:
    """A tensor that whoever computes attention takes out, once."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor: torch.Tensor | None = tensor

    def take(self) -> torch.Tensor:
        assert self.tensor is not None, "taken twice"
        tensor, self.tensor = self.tensor, None
        return tensor


def test_attention_in_containers_trains_the_same(sd, monkeypatch):
    from comfy.ldm.modules import attention

    trained, losses = train(sd, create(sd)).args
    made: list[Container] = []

    def newer(q: Any, k: Any, v: Any, *args: Any, transformer_options: Any, **kwargs: Any) -> Any:
        containers = [Container(each) for each in (q, k, v)]
        made.extend(containers)
        override = transformer_options["optimized_attention_override"]
        kwargs = {**kwargs, "transformer_options": transformer_options, "_inside_attn_wrapper": True}
        return override(attention.attention_basic, *containers, *args, **kwargs)

    monkeypatch.setattr(attention, "optimized_attention", newer)
    again, others = train(sd, create(sd), run_name="again").args
    assert made
    assert all(container.tensor is None for container in made)
    assert losses == others
    assert equal(trained, again)


@pytest.fixture
def fuller_controls(monkeypatch) -> None:
    """Let ControlBase keep hints and features by size, in fields that older ones lack."""
    from comfy.controlnet import ControlBase

    fields = ("cond_hints", "control_inputs")

    def grown(name: str, change: Any) -> None:
        original = getattr(ControlBase, name)

        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(self, *args, **kwargs)
            change(self, *args)
            return result

        monkeypatch.setattr(ControlBase, name, method)

    def emptied(self: Any, *_: Any) -> None:
        for field in fields:
            getattr(self, field).clear()

    grown("__init__", lambda self, *_: [setattr(self, field, {}) for field in fields])
    grown("set_cond_hint", emptied)
    grown("cleanup", emptied)
    grown("copy_to", lambda self, other: [setattr(other, field, getattr(self, field).copy()) for field in fields])


@pytest.mark.parametrize("kind", ["SD", "SDXL"])
def test_controls_with_more_fields_are_copied_and_run(models, fuller_controls, kind):
    from t2i_adapter_pack.nodes.sampling.control_net import T2IAdapterControl

    config, image = tiny.adapter_config(kind), tiny.hint(*PIXELS)
    adapter, latent = tiny.adapter(config), tiny.latent(*LATENT)
    net = control(adapter)
    net.cond_hints[LATENT] = image
    copied = net.copy()
    assert isinstance(copied, T2IAdapterControl)
    assert copied.cond_hints == net.cond_hints
    assert copied.cond_hints is not net.cond_hints
    assert copied.deepclone_multigpu(torch.device("cpu")).control_inputs == {}

    # Beside one of core's own, which has the fields too.
    one = prompts(net, image, strength=0.7)
    other = tiny.apply_core(one["positive"], one["negative"], tiny.core_control(config, 5), image, strength=0.5)
    result = tiny.sample(models[kind], latent, positive=other[0], negative=other[1])
    both = tiny.apply(tiny.apply(models[kind], adapter, image, strength=0.7), tiny.adapter(config, 5), image,
                      strength=0.5)  # fmt: skip
    torch.testing.assert_close(result, tiny.sample(both, latent), **tiny.CLOSE)
    assert not other[0][0][1]["control"].cond_hints


def test_patchers_with_a_fast_disk_are_made_cloned_and_loaded(sd, monkeypatch):
    import comfy.model_patcher

    adapter, image, latent = tiny.adapter(tiny.adapter_config()), tiny.hint(*PIXELS), tiny.latent(*LATENT)
    expected = tiny.sample(tiny.apply(sd, adapter, image), latent)

    class Newer(comfy.model_patcher.ModelPatcher):
        def __init__(self, model: Any, load_device: Any, offload_device: Any, size: int = 0,
                     weight_inplace_update: bool = False, fast_disk: bool = False) -> None:  # fmt: skip
            super().__init__(model, load_device, offload_device, size, weight_inplace_update)
            self.fast_disk = fast_disk

        def clone(self, *args: Any, **kwargs: Any) -> Any:
            clone = super().clone(*args, **kwargs)
            clone.fast_disk = self.fast_disk
            return clone

    monkeypatch.setattr(comfy.model_patcher, "CoreModelPatcher", Newer)
    model = tiny.model("SD")
    model.fast_disk = True
    newer = tiny.adapter(tiny.adapter_config())
    assert isinstance(newer.patcher, Newer)
    patched = tiny.apply(model, newer, image)
    assert patched.fast_disk
    assert torch.equal(tiny.sample(patched, latent), expected)


@pytest.mark.parametrize("unit", ["noise schedule", "sampling steps"])
def test_samplers_and_schedulers_of_new_names_run(sd, monkeypatch, unit):
    """Nothing of ours goes by their names: the same functions under new ones give the same pictures."""
    import comfy.samplers
    from comfy.k_diffusion import sampling
    from t2i_adapter_pack.nodes.weights import T2IAdapterSchedule

    weights = T2IAdapterSchedule.execute(1.0, 0.2, "linear", 0.1, 0.7, unit)[0]
    adapter, image, latent = tiny.adapter(tiny.adapter_config()), tiny.hint(*PIXELS), tiny.latent(*LATENT)
    patched = tiny.apply(sd, adapter, image, weights=weights)
    expected = tiny.sample(patched, latent, sampler="heun", scheduler="karras")
    monkeypatch.setattr(sampling, "sample_heun_3d_turbo", sampling.sample_heun, raising=False)
    monkeypatch.setattr(comfy.samplers.KSampler, "SAMPLERS", [*comfy.samplers.KSampler.SAMPLERS, "heun_3d_turbo"])
    monkeypatch.setitem(comfy.samplers.SCHEDULER_HANDLERS, "new", comfy.samplers.SCHEDULER_HANDLERS["karras"])
    monkeypatch.setattr(comfy.samplers.KSampler, "SCHEDULERS", [*comfy.samplers.KSampler.SCHEDULERS, "new"])
    assert torch.equal(tiny.sample(patched, latent, sampler="heun_3d_turbo", scheduler="new"), expected)


def load_again(kind: str, disable_dynamic: bool = False) -> Any:
    """What a loader registers, so that its MODEL can be had without dynamic VRAM."""
    assert disable_dynamic
    return tiny.model(kind)


def load_as_older(kind: str) -> Any:
    """What a loader registered before there was that option."""
    return tiny.model(kind)


def under_dynamic_vram(loader: Any) -> Any:
    """A MODEL that says it is under dynamic VRAM, from a loader that registered this function or none."""
    import comfy.model_patcher

    class Dynamic(comfy.model_patcher.ModelPatcher):
        def is_dynamic(self) -> bool:
            return True

    model = tiny.model("SD")
    model.__class__ = Dynamic
    model.cached_patcher_init = None if loader is None else (loader, ("SD",))
    return model


@pytest.mark.parametrize("loader", [None, load_as_older], ids=["none", "without the option"])
def test_training_says_which_loader_helps_under_dynamic_vram(loader):
    model = under_dynamic_vram(loader)
    with pytest.raises(TrainingError) as caught:
        train(model, create(model))
    message = str(caught.value)
    assert "\nTrain T2I-Adapter, model: got a MODEL under dynamic VRAM" in message
    assert all(help in message for help in ("Load Checkpoint", "Load Diffusion Model", "--disable-dynamic-vram"))


def test_training_under_dynamic_vram_loads_the_model_without(sd):
    adapter = create(sd)
    expected, _ = train(sd, adapter, run_name="plain").args
    model = under_dynamic_vram(load_again)
    trained, _ = train(model, adapter).args
    assert equal(trained, expected)
    assert model.is_dynamic()
