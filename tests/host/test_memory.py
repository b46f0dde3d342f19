"""ComfyUI loads the adapter, it runs once per picture, and no state of a run remains."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import torch

from . import oracle, tiny

pytestmark = pytest.mark.host
LATENT = (8, 16)
PIXELS = (64, 128)


def run(model: Any, **values: Any) -> torch.Tensor:
    return tiny.sample(model, tiny.latent(*LATENT), **{"steps": 2, **values})


@pytest.fixture
def adapter(inside_comfyui) -> Any:
    return tiny.adapter(tiny.adapter_config())


# --- ComfyUI's memory manager ----------------------------------------------------------------------------------------


def loaded() -> list[Any]:
    import comfy.model_management

    return [entry.model for entry in comfy.model_management.current_loaded_models]


def test_comfyui_loads_an_adapter_that_has_to_run_before_the_model(sd, adapter, monkeypatch):
    import comfy.model_management

    other = tiny.adapter(tiny.adapter_config(), 1)
    patched = tiny.apply(tiny.apply(sd, adapter, tiny.hint(*PIXELS)), other, tiny.hint(*PIXELS, seed=1))
    asked: list[Any] = []
    load = comfy.model_management.load_models_gpu

    def spy(models: list[Any], **values: Any) -> None:
        asked.append((models, values.get("memory_required", 0)))
        load(models, **values)

    monkeypatch.setattr(comfy.model_management, "load_models_gpu", spy)
    comfy.model_management.unload_all_models()
    run(patched)
    # Each alone, with room for its forward; the UNet after them, so that it may have their memory.
    assert [models for models, _ in asked] == [[adapter.patcher], [other.patcher], [patched]]
    features = adapter.network(torch.zeros(1, 3, *PIXELS))
    assert asked[0][1] >= 2 * max(level.nbytes for level in features)
    assert all(any(model is each.patcher for model in loaded()) for each in (adapter, other))


def test_an_adapter_that_has_run_needs_no_memory(sd, adapter):
    import comfy.model_management

    patched = tiny.apply(sd, adapter, tiny.hint(*PIXELS))
    expected = run(patched)
    comfy.model_management.unload_all_models()
    assert torch.equal(run(patched, seed=0), expected)
    assert not any(model is adapter.patcher for model in loaded())
    assert any(model is patched for model in loaded())


def test_a_run_goes_on_when_the_adapter_is_offloaded_between_its_steps(sd, adapter):
    patched = tiny.apply(sd, adapter, tiny.hint(*PIXELS))
    expected, count = run(patched, steps=4), tiny.Count(adapter.network)

    def offload(*_: Any) -> None:
        adapter.patcher.detach()

    again = tiny.apply(sd, adapter, tiny.hint(*PIXELS))
    assert torch.equal(run(again, steps=4, callback=offload), expected)
    assert count.calls == 1


def test_its_size_is_that_of_its_weights(adapter):
    assert adapter.patcher.model_size() == sum(weight.nbytes for weight in adapter.network.parameters())


def test_every_layer_casts_its_weights_where_it_computes(adapter):
    """Else partial loading would leave layers on the wrong device."""
    import comfy.ops

    layers = [layer for layer in adapter.network.modules() if next(layer.parameters(recurse=False), None) is not None]
    assert len(layers) > 10
    assert all(isinstance(layer, comfy.ops.CastWeightBiasOp) and layer.comfy_cast_weights for layer in layers)


def test_a_partly_loaded_adapter_gives_the_same(sd, adapter):
    expected = run(tiny.apply(sd, adapter, tiny.hint(*PIXELS)))
    adapter.patcher.load(torch.device("cpu"), lowvram_model_memory=adapter.patcher.model_size() // 3)
    assert any(getattr(layer, "comfy_patched_weights", False) for layer in adapter.network.modules())
    assert torch.equal(run(tiny.apply(sd, adapter, tiny.hint(*PIXELS))), expected)


# --- how often the adapter runs --------------------------------------------------------------------------------------


def test_only_another_picture_runs_the_adapter_again(sd, adapter):
    count, image = tiny.Count(adapter.network), tiny.hint(*PIXELS)
    forwards = []
    for change in (
        lambda: run(tiny.apply(sd, adapter, image)),
        lambda: run(tiny.apply(sd, adapter, image), seed=7),
        lambda: run(tiny.apply(sd, adapter, image, strength=0.4)),
        lambda: run(tiny.apply(sd, adapter, image), positive=tiny.conditioning(8)),
        lambda: run(tiny.apply(sd, adapter, image, start_percent=0.2, mask=torch.ones(1, 8, 8))),
        lambda: run(tiny.apply(sd, adapter, image), sampler="heun", cfg=1.0, steps=3),
        lambda: run(tiny.apply(sd, adapter, tiny.hint(*PIXELS, seed=1))),
    ):
        before = count.calls
        change()
        forwards.append(count.calls - before)
    assert forwards == [1, 0, 0, 0, 0, 0, 1]


def test_a_picture_that_was_written_into_between_two_runs_is_looked_at_again(sd, adapter):
    """Camera nodes write each frame into the same IMAGE, without running again."""
    image = tiny.hint(*PIXELS)
    patched = tiny.apply(sd, adapter, image)
    before = run(patched)
    image.numpy()[:] = 1 - image.numpy()
    after = run(patched)
    assert torch.equal(after, run(tiny.apply(sd, adapter, image.clone())))
    assert (after - before).abs().max() > 0.1


def test_an_adapter_that_was_loaded_anew_runs_anew(sd):
    image, config = tiny.hint(*PIXELS), tiny.adapter_config()
    first, second = tiny.adapter(config, 0), tiny.adapter(config, 1)
    count = tiny.Count(second.network)
    before = run(tiny.apply(sd, first, image))
    after = run(tiny.apply(sd, second, image))
    assert count.calls == 1
    assert (after - before).abs().max() > 0.1


# --- what is kept, and how long --------------------------------------------------------------------------------------


def test_features_go_with_their_picture(sd, adapter):
    image = tiny.hint(*PIXELS)
    patched = tiny.apply(sd, adapter, image)
    run(patched)
    assert adapter.cache.nbytes > 0
    del patched
    gc.collect()
    assert adapter.cache.nbytes > 0  # the picture still lives, in ComfyUI's own cache
    del image
    gc.collect()
    assert adapter.cache.nbytes == 0


def test_features_are_bounded_and_the_oldest_go_first(sd, adapter):
    count = tiny.Count(adapter.network)
    models = [tiny.apply(sd, adapter, tiny.hint(*PIXELS, seed=seed)) for seed in range(3)]
    expected = run(models[0])
    adapter.cache.max_bytes = 2 * adapter.cache.nbytes
    for model in models[1:]:
        run(model)
    assert adapter.cache.nbytes <= adapter.cache.max_bytes
    assert count.calls == 3
    run(models[2])
    assert count.calls == 3
    assert torch.equal(run(models[0]), expected)
    assert count.calls == 4


class BrokenSamplerError(Exception):
    """Raised in the middle of a run."""


def break_run(options: dict[str, Any]) -> None:
    raise BrokenSamplerError(str(options["block"]))


def interrupt_run(_: dict[str, Any]) -> None:
    import comfy.model_management

    comfy.model_management.interrupt_current_processing()


@pytest.mark.parametrize("end", [None, break_run, interrupt_run], ids=["done", "error", "interrupt"])
def test_nothing_of_a_run_is_left_however_it_ends(sd, adapter, end):
    import comfy.model_management

    calls: list[int] = []

    def see(_: torch.Tensor, options: dict[str, Any]) -> None:
        calls.append(1)
        assert tiny.left_of_runs()
        if end is not None and len(calls) == 2:
            end(options)

    patched = tiny.apply(sd, adapter, tiny.hint(*PIXELS))
    expected = run(patched, steps=3)
    spied = oracle.spied(patched, see)
    before = set(spied.model_options["transformer_options"])
    if end is None:
        run(spied, steps=3)
    else:
        failures = (BrokenSamplerError, comfy.model_management.InterruptProcessingException)
        with pytest.raises(failures):
            run(spied, steps=3)
        assert len(calls) == 2
    assert set(spied.model_options["transformer_options"]) == before
    assert tiny.left_of_runs() == []
    assert torch.equal(run(patched, steps=3), expected)


# --- per step --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hints", [1, 2])
def test_every_step_gets_the_same_tensors(sd, adapter, hints):
    seen: list[dict[Any, torch.Tensor]] = []
    patched = tiny.apply(sd, adapter, tiny.hint(*PIXELS, hints), mask=torch.rand(hints, 8, 8), strength=0.3)
    spied = oracle.spied(patched, lambda _, options: seen.append(oracle.residuals_of(options)))
    tiny.sample(spied, tiny.latent(*LATENT, 2), steps=4)
    assert len(seen) == 4
    assert all(step.keys() == seen[0].keys() for step in seen)
    assert seen[0] and all(step[site] is tensor for step in seen for site, tensor in seen[0].items())


@pytest.mark.parametrize("kind", ["SD", "SDXL"])
@pytest.mark.parametrize("stacked", [1, 3])
def test_a_step_does_nothing_but_add_in_place(models, monkeypatch, kind, stacked):
    from t2i_adapter_pack.nodes.sampling import patches, wrappers

    operations = oracle.Operations()
    for owner, name in (
        (wrappers.SamplingWrappers, "apply_model"),
        (wrappers.SamplingWrappers, "calc_cond_batch"),
        (patches.InputPatch, "__call__"),
        (patches.MiddlePatch, "__call__"),
    ):
        operations.watch(monkeypatch, owner, name)
    patched = models[kind]
    for seed in range(stacked):
        adapter = tiny.adapter(tiny.adapter_config(kind), seed)
        patched = tiny.apply(patched, adapter, tiny.hint(*PIXELS, 2), strength=0.5)
    starts: list[tuple[int, int]] = []
    spied = oracle.spied(patched, lambda *_: starts.append((len(operations.names), len(operations.allocated))))
    with operations:
        tiny.sample(spied, tiny.latent(*LATENT, 2), steps=3)
    assert len(starts) == 3
    names, allocated = starts[1]
    later = operations.names[names:]
    assert [name for name in later if "flatten" not in name] == ["aten.add_.Tensor"] * 8
    assert operations.allocated[allocated:] == []
    assert operations.names[:names]  # the first step does more: the mode sees something
