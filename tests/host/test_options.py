"""The pack's one key in ``transformer_options``, and wrappers that pass on arguments they don't know."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from . import oracle, tiny
from .test_control import control

pytestmark = pytest.mark.host
LATENT, PIXELS = (8, 8), (64, 64)
MORE, NAMED = ("new", 7), {"newer": 8}
OURS = "t2i_adapter"


def keys_of(options: dict[str, Any]) -> set[str]:
    return {key for key in options if "t2i" in key}


@pytest.mark.parametrize("way", ["model", "controlnet", "both"])
def test_the_pack_has_one_key_during_a_run_and_none_after(sd, way):
    from t2i_adapter_pack.nodes.sampling.options import AdapterOptions

    adapter, image = tiny.adapter(tiny.adapter_config()), tiny.hint(*PIXELS)
    patched = sd if way == "controlnet" else tiny.apply(sd, adapter, image)
    positive, negative = tiny.conditioning(1), tiny.conditioning(2)
    if way != "model":
        positive, negative = tiny.apply_core(positive, negative, control(adapter), image)
    seen: list[dict[str, Any]] = []
    spied = oracle.spied(patched, lambda _, options: seen.append(dict(options)))
    tiny.sample(spied, tiny.latent(*LATENT), positive=positive, negative=negative, steps=2)
    assert len(seen) == 2
    for options in seen:
        assert keys_of(options) == {OURS}
        assert isinstance(options[OURS], AdapterOptions)
    assert keys_of(spied.model_options["transformer_options"]) == set()


def test_the_entry_is_never_changed_in_place():
    from t2i_adapter_pack.nodes.sampling.options import AdapterOptions, adapter_options, changed_options

    first: dict[str, Any] = changed_options({"other": 1}, residuals={})
    second = changed_options(first, offered=True)
    assert (adapter_options(first).offered, adapter_options(second).offered) == (False, True)
    assert second["other"] == 1
    assert adapter_options(second).residuals is adapter_options(first).residuals
    with pytest.raises(dataclasses.FrozenInstanceError):
        adapter_options(first).offered = True  # type: ignore[misc]
    assert adapter_options({}).residuals is AdapterOptions().residuals is None


class Executor:
    """What ComfyUI hands a wrapper, to call what is inside."""

    def __init__(self, **attributes: Any) -> None:
        self.class_obj = SimpleNamespace(**attributes)
        self.calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def __call__(self, *args: Any, **kwargs: Any) -> str:
        self.calls.append((args, kwargs))
        return "result"


def ended_with_more(executor: Executor) -> bool:
    ((args, kwargs),) = executor.calls
    return args[-len(MORE) :] == MORE and {key: kwargs.get(key) for key in NAMED} == NAMED


@pytest.fixture
def wrappers(sd) -> Any:
    """The wrappers of a MODEL with one adapter."""
    from t2i_adapter_pack.nodes.sampling.wrappers import SamplingWrappers

    patched = tiny.apply(sd, tiny.adapter(tiny.adapter_config()), tiny.hint(*PIXELS))
    return SamplingWrappers(patched.get_attachment("t2i_adapter"), 8)


@pytest.mark.parametrize("positional", [True, False])
def test_preparing_passes_on_what_it_does_not_know(sd, wrappers, positional):
    from t2i_adapter_pack.nodes.sampling.options import adapter_options

    executor, options = Executor(), {}
    given = (options, *MORE) if positional else ()
    named = NAMED if positional else {**NAMED, "model_options": options}
    assert wrappers.prepare_sampling(executor, sd, (1, 4, *LATENT), {}, *given, **named) == "result"
    assert executor.calls == [((sd, (1, 4, *LATENT), {}, *given), named)]
    assert adapter_options(options["transformer_options"]).prepared is not None


@pytest.mark.parametrize("method", ["sampler_sample", "observe_run"])
def test_a_run_passes_on_what_it_does_not_know(sd, wrappers, method):
    executor = Executor()
    guider = SimpleNamespace(inner_model=sd.model, conds={"positive": []})
    extra: dict[str, Any] = {"model_options": {}}
    sigmas, noise = torch.tensor([1.0, 0.0]), tiny.latent(*LATENT)
    assert getattr(wrappers, method)(executor, guider, sigmas, extra, None, noise, *MORE, **NAMED) == "result"
    assert ended_with_more(executor)


@pytest.mark.parametrize("method", ["calc_cond_batch", "observe_step"])
def test_a_step_passes_on_what_it_does_not_know(sd, wrappers, method):
    executor = Executor()
    x = tiny.latent(*LATENT)
    step = getattr(wrappers, method)
    assert step(executor, sd.model, [[]], x, torch.ones(1), {"transformer_options": {}}, *MORE, **NAMED) == "result"
    assert ended_with_more(executor)


def test_a_call_passes_on_what_it_does_not_know(sd, wrappers):
    executor = Executor(**{name: getattr(sd.model, name) for name in ("diffusion_model", "model_sampling")},
                        get_dtype_inference=sd.model.get_dtype_inference)  # fmt: skip
    x = tiny.latent(*LATENT)
    assert wrappers.apply_model(executor, x, torch.ones(1), None, None, None, {}, *MORE, **NAMED) == "result"
    assert ended_with_more(executor)
    assert oracle.residuals_of(executor.calls[0][0][5])


@pytest.mark.parametrize("had_control", [True, False])
def test_a_call_of_the_unet_passes_on_what_it_does_not_know(had_control):
    from t2i_adapter_pack.nodes.sampling.handed import Handed
    from t2i_adapter_pack.nodes.sampling.patches import UNetWrapper

    executor = Executor()
    wrapper = UNetWrapper(Handed({}), had_control, lambda _: None)
    x = tiny.latent(*LATENT)
    assert wrapper(executor, x, None, None, None, None, {}, *MORE, **NAMED) == "result"
    assert ended_with_more(executor)


def test_a_control_passes_on_what_it_does_not_know(sd):
    given: list[Any] = []
    net = control(tiny.adapter(tiny.adapter_config()))
    net.set_cond_hint(tiny.hint(*PIXELS).movedim(-1, 1))
    net.pre_run(sd.model, lambda percent: 1.0 - percent)
    net.previous_controlnet = SimpleNamespace(get_control=lambda *args, **named: given.append((args, named)))
    assert net.get_control(tiny.latent(*LATENT), torch.ones(1), {}, 1, {}, *MORE, **NAMED)
    assert (given[0][0][-len(MORE) :], given[0][1]) == (MORE, NAMED)
