"""Block caches (DeepCache and its kin): a ``model_function_wrapper`` that walks the UNet's blocks itself.

ComfyUI's apply_model never runs, so neither do wrappers around it and around the UNet's forward. Of the patches only
those of the input and the output blocks are called, in some kin none; ``control`` is always added. In a cached step
only the shallow blocks run, and the rest comes from the step before.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ..host import tiny

pytestmark = pytest.mark.host
LATENT, PIXELS = (8, 16), (64, 128)
STEPS = 6


def cached(model: Any, *, interval: int = 3, depth: int = 3, patches: bool = True) -> Any:
    """Walk the blocks of a MODEL's UNet from a function wrapper, and reuse what is deeper than ``depth``."""
    clone = model.clone()
    cache = Cache(clone, interval, depth, patches)
    clone.set_model_unet_function_wrapper(cache)
    return clone


class Cache:
    def __init__(self, model: Any, interval: int, depth: int, patches: bool) -> None:
        self.model, self.interval, self.depth, self.patches = model, interval, depth, patches
        self.level, self.step, self.deep = -1.0, -1, None
        self.whole: list[bool] = []

    def __call__(self, _: Any, args: dict[str, Any]) -> torch.Tensor:
        x, sigma, c = args["input"], args["timestep"], args["c"]
        base = self.model.model
        time = base.model_sampling.timestep(sigma).float()
        self.step = 0 if time[0].item() > self.level else self.step + 1
        self.level = time[0].item()
        self.whole.append(self.step % self.interval == 0)
        inside = base.model_sampling.calculate_input(sigma, x)
        out = self.walk(base.diffusion_model, inside, time, c)
        return base.model_sampling.calculate_denoised(sigma, out, x)

    def walk(self, unet: Any, x: torch.Tensor, time: torch.Tensor, c: dict[str, Any]) -> torch.Tensor:
        from comfy.ldm.modules.diffusionmodules import openaimodel as modules

        options, control, whole = c["transformer_options"], c.get("control"), self.whole[-1]
        emb = unet.time_embed(modules.timestep_embedding(time, unet.model_channels))

        def run(kind: str, index: int, block: Any, h: torch.Tensor, *shape: Any) -> torch.Tensor:
            options["block"] = (kind, index)
            return modules.forward_timestep_embed(block, h, emb, c["c_crossattn"], options, *shape)

        h, skips = x, []
        for index, block in enumerate(unet.input_blocks):
            h = modules.apply_control(run("input", index, block, h), control, "input")
            for patch in options.get("patches", {}).get("input_block_patch", ()) if self.patches else ():
                h = patch(h, options)
            skips.append(h)
            if index == self.depth and not whole:
                break
        if whole:
            h = modules.apply_control(run("middle", 0, unet.middle_block, h), control, "middle")
        boundary = len(unet.output_blocks) - self.depth - 1
        for index, block in enumerate(unet.output_blocks):
            if index < boundary and not whole:
                continue
            if index == boundary:
                self.deep = h = h if whole else self.deep
            h = torch.cat([h, modules.apply_control(skips.pop(), control, "output")], dim=1)
            h = run("output", index, block, h, skips[-1].shape if skips else None)
        return unet.out(h)


def by_core(kind: str, image: torch.Tensor, **values: Any) -> dict[str, Any]:
    """Both prompts with ComfyUI core's own T2I-Adapter."""
    control = tiny.core_control(tiny.adapter_config(kind))
    positive, negative = tiny.apply_core(tiny.conditioning(1), tiny.conditioning(2), control, image, **values)
    return {"positive": positive, "negative": negative}


def run(model: Any, **values: Any) -> torch.Tensor:
    return tiny.sample(model, tiny.latent(*LATENT, 2), steps=STEPS, **values)


@pytest.mark.parametrize("patches", [True, False], ids=["input patches", "control alone"])
@pytest.mark.parametrize("order", ["cache last", "cache first"])
@pytest.mark.parametrize("kind", ["SD", "SDXL"])
def test_the_picture_is_that_of_cores_adapter(models, kind, order, patches):
    image, adapter = tiny.hint(*PIXELS, 2), tiny.adapter(tiny.adapter_config(kind))
    expected = run(cached(models[kind], patches=patches), **by_core(kind, image))
    if order == "cache last":
        model = cached(tiny.apply(models[kind], adapter, image), patches=patches)
    else:
        model = tiny.apply(cached(models[kind], patches=patches), adapter, image)
    result = run(model)
    assert model.model_options["model_function_wrapper"].whole == [True, False, False, True, False, False]
    torch.testing.assert_close(result, expected, **tiny.CLOSE)
    assert (run(cached(models[kind])) - expected).abs().max() > 0.1
    assert not tiny.left_of_runs()


@pytest.mark.parametrize("depth", [0, 5, 8])
def test_every_depth_and_a_range_of_the_run(sdxl, depth):
    image, adapter = tiny.hint(*PIXELS), tiny.adapter(tiny.adapter_config("SDXL"))
    limits = {"start_percent": 0.0, "end_percent": 0.6, "strength": 0.8}
    expected = run(cached(sdxl, depth=depth), **by_core("SDXL", image, **limits))
    result = run(cached(tiny.apply(sdxl, adapter, image, **limits), depth=depth))
    torch.testing.assert_close(result, expected, **tiny.CLOSE)


def test_a_control_of_cores_is_added_too(sdxl):
    image, second = tiny.hint(*PIXELS), tiny.hint(*PIXELS, seed=5)
    adapters = [tiny.adapter(tiny.adapter_config("SDXL")) for _ in range(2)]
    expected = run(cached(tiny.apply(tiny.apply(sdxl, adapters[0], image), adapters[1], second)))
    result = run(cached(tiny.apply(sdxl, adapters[0], image)), **by_core("SDXL", second))
    torch.testing.assert_close(result, expected, **tiny.CLOSE)


def test_another_run_without_the_cache_is_as_before(sd):
    image, adapter = tiny.hint(*PIXELS), tiny.adapter(tiny.adapter_config())
    patched = tiny.apply(sd, adapter, image)
    before, bare = run(patched), run(sd)
    run(cached(patched))
    assert torch.equal(run(patched), before)
    assert torch.equal(run(sd), bare)


def test_masks_sides_and_schedules_are_those_of_a_cache_that_reuses_nothing(sdxl):
    """If every step is complete, walking the blocks equals ComfyUI's forward."""
    from t2i_adapter_pack.nodes.weights import T2IAdapterSchedule, T2IAdapterWeights

    weights = T2IAdapterWeights.execute({"preset": "uniform"}, positive=1.0, negative=0.0)[0]
    weights = T2IAdapterSchedule.execute(1.0, 0.0, "linear", unit="sampling steps", weights=weights)[0]
    adapter = tiny.adapter(tiny.adapter_config("SDXL"))
    patched = tiny.apply(sdxl, adapter, tiny.hint(*PIXELS), mask=torch.rand(2, 8, 8), weights=weights)
    torch.testing.assert_close(run(cached(patched, interval=1)), run(patched), **tiny.CLOSE)


# --- function wrappers that call apply_model -------------------------------------------------------------


def calling(model: Any, change: Any) -> Any:
    """A function wrapper that changes the control and calls apply_model."""
    clone = model.clone()

    def call(apply_model: Any, args: dict[str, Any]) -> torch.Tensor:
        c = {**args["c"], "control": change(args["c"].get("control"))}
        return apply_model(args["input"], args["timestep"], **c)

    clone.set_model_unet_function_wrapper(call)
    return clone


@pytest.mark.parametrize("kind", ["SD", "SDXL"])
@pytest.mark.parametrize("copies", [False, True], ids=["as it is", "a copy"])
def test_who_calls_apply_model_gets_the_residuals_once(models, kind, copies):
    adapter, image = tiny.adapter(tiny.adapter_config(kind)), tiny.hint(*PIXELS)
    patched = tiny.apply(models[kind], adapter, image)

    def change(control: Any) -> Any:
        return {key: list(values) for key, values in control.items()} if copies else control

    torch.testing.assert_close(run(calling(patched, change)), run(patched), **tiny.CLOSE)


@pytest.mark.parametrize("kind", ["SD", "SDXL"])
def test_who_takes_the_control_away_gets_none(models, kind):
    patched = tiny.apply(models[kind], tiny.adapter(tiny.adapter_config(kind)), tiny.hint(*PIXELS))
    assert torch.equal(run(calling(patched, lambda _: None)), run(models[kind]))


def test_a_pack_that_expects_a_control_object_finds_none(sd):
    """Tiled Diffusion: it names itself in model_options, and cuts the hint of what it finds under ``control``."""
    patched = tiny.apply(sd, tiny.adapter(tiny.adapter_config()), tiny.hint(*PIXELS))
    seen: list[Any] = []
    tiled = calling(patched, seen.append)
    tiled.model_options["tiled_diffusion"] = True
    torch.testing.assert_close(run(tiled), run(patched), **tiny.CLOSE)
    assert set(seen) == {None}
