"""Calls of contract_calls.py: runs, the UNet, patchers and controls."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch

from . import tiny
from .contract_calls import CPU, LATENT, covers, model, rows, sampled
from .test_windows import windowed

AREA = (8, 8, 0, 8)
UNET = "comfy.ldm.modules.diffusionmodules.openaimodel"


@covers(
    "comfy.patcher_extension:WrappersMP",
    "comfy.patcher_extension:WrapperExecutor",
    "comfy.sampler_helpers:_prepare_sampling",
    "comfy.samplers:KSAMPLER.sample",
    "comfy.samplers:_calc_cond_batch",
    "comfy.model_base:BaseModel._apply_model",
    "guider with conds by name, and inner_model",
    "cond with uuid, and area as height, width, top and left",
    "model_conds['c_crossattn'].cond",
)
def wrappers_get_what_they_stand_in_for() -> None:
    from comfy.patcher_extension import WrappersMP

    clone, seen = model().clone(), []

    def prepare(executor: Any, patcher: Any, shape: Any, conds: Any, model_options: Any = None, **kwargs: Any) -> Any:
        assert (patcher.load_device, tuple(shape)) == (clone.load_device, (1, 4, *LATENT))
        assert patcher.model is clone.model
        assert "transformer_options" in model_options
        seen.append("prepare")
        return executor(patcher, shape, conds, model_options=model_options, **kwargs)

    def sample(executor: Any, guider: Any, sigmas: Any, extra: Any, callback: Any, noise: Any, *args: Any) -> Any:
        assert list(guider.conds) == ["positive", "negative"]
        assert guider.inner_model is clone.model
        assert len(sigmas) == 2
        assert "transformer_options" in extra["model_options"]
        assert noise.shape == (1, 4, *LATENT)
        seen.append("sample")
        return executor(guider, sigmas, extra, callback, noise, *args)

    def batch(executor: Any, base: Any, conds: Any, x: Any, timestep: Any, model_options: Any) -> Any:
        (cond,) = next(group for group in conds if group[0].get("area") is not None)
        assert tuple(cond["area"]) == AREA
        assert cond["uuid"] is not None
        text = cond["model_conds"]["c_crossattn"]
        assert type(text)(text.cond).cond is text.cond
        assert (base, x.shape) == (clone.model, (1, 4, *LATENT))
        seen.append("batch")
        return executor(base, conds, x, timestep, model_options)

    def apply(executor: Any, x: Any, t: Any, concat: Any = None, text: Any = None, control: Any = None,
              transformer_options: Any = None, **kwargs: Any) -> Any:  # fmt: skip
        assert executor.class_obj is clone.model
        assert (concat, control, t.shape) == (None, None, x.shape[:1])
        assert text.shape[-1] == tiny.CONTEXT
        seen.append("apply")
        return executor(x, t, concat, text, control, transformer_options, **kwargs)

    for kind, wrapper in (
        (WrappersMP.PREPARE_SAMPLING, prepare),
        (WrappersMP.SAMPLER_SAMPLE, sample),
        (WrappersMP.CALC_COND_BATCH, batch),
        (WrappersMP.APPLY_MODEL, apply),
    ):
        clone.add_wrapper_with_key(kind, "test", wrapper)
    sampled(clone, positive=tiny.conditioning(1, area=AREA))
    assert list(dict.fromkeys(seen)) == ["prepare", "sample", "batch", "apply"]


@covers(
    "transformer_options with block, cond_or_uncond, uuids and sigmas",
    "input_block_patch(h, transformer_options), before the skip",
    "middle_block_after_patch({h, transformer_options})",
    "patches in lists, of which the first may write into its tensor",
)
def patches_act_where_they_should() -> None:
    clone, seen = model().clone(), {}
    last = ("input", len(model().model.diffusion_model.input_blocks) - 1)

    def first(h: torch.Tensor, options: Any) -> torch.Tensor:
        if options["block"] == last:
            assert len(options["uuids"]) == len(options["cond_or_uncond"]) == h.shape[0] == 2
            assert options["sigmas"].numel() == 1
            h.zero_()
        return h

    def second(h: torch.Tensor, options: Any) -> torch.Tensor:
        seen.setdefault(options["block"], not h.any())
        return h

    def middle(args: Any) -> Any:
        assert args["transformer_options"]["block"] == ("middle", 0)
        return {**args, "h": torch.ones_like(args["h"])}

    def output(h: torch.Tensor, skip: torch.Tensor, options: Any) -> tuple[torch.Tensor, torch.Tensor]:
        if options["block"] == ("output", 0):
            seen["skip"], seen["middle"] = not skip.any(), bool((h == 1).all())
        return h, skip

    patches = {
        "input_block_patch": [first, second], "middle_block_after_patch": [middle], "output_block_patch": [output],
    }  # fmt: skip
    clone.model_options["transformer_options"]["patches"] = patches
    sampled(clone)
    assert seen.pop(("input", 0)) is False
    assert (seen[last], seen["skip"], seen["middle"]) == (True, True, True)


@covers("control, lists of which the last entry is taken first", f"{UNET}:apply_control")
def controls_are_taken_from_the_end() -> None:
    from comfy.ldm.modules.diffusionmodules.openaimodel import apply_control

    control = {"input": [torch.full((1,), 2.0), torch.ones(1)]}
    assert apply_control(torch.zeros(1), control, "input") == 1
    assert len(control["input"]) == 1


@covers("comfy_api.torch_helpers.torch_compile:COMPILE_KEY")
def a_compiled_model_is_told_by_its_wrapper() -> None:
    from comfy.patcher_extension import WrappersMP
    from comfy_api.torch_helpers.torch_compile import COMPILE_KEY
    from t2i_adapter_pack.nodes.sampling.wrappers import COMPILE_WRAPPER

    assert (WrappersMP.APPLY_MODEL, COMPILE_KEY) == COMPILE_WRAPPER


@covers("comfy.context_windows:IndexListContextWindow",
        "transformer_options with context_window of index_list and causal_anchor_index")  # fmt: skip
def windows_tell_their_frames() -> None:
    from comfy.context_windows import IndexListContextWindow
    from comfy_extras.nodes_context_windows import ContextWindowsManualNode

    assert IndexListContextWindow([1, 2], 0, 4).index_list == [1, 2]
    seen = []

    def look(h: torch.Tensor, options: Any) -> torch.Tensor:
        window = options["context_window"]
        seen.append((list(window.index_list), getattr(window, "causal_anchor_index", None)))
        return h

    clone = model().clone()
    clone.set_model_input_block_patch(look)
    tiny.sample(windowed(clone, causal=False), tiny.latent(8, 8, 8), steps=1)
    parts = {(0, 1, 2, 3), (2, 3, 4, 5), (4, 5, 6, 7)}
    assert {(tuple(frames), anchor) for frames, anchor in seen} == {(part, None) for part in parts}
    if "causal_window_fix" in inspect.signature(ContextWindowsManualNode.execute).parameters:
        seen.clear()
        tiny.sample(windowed(clone, causal=True), tiny.latent(8, 8, 8), steps=1)
        # Each but the first begins with the frame before it.
        assert {(frames[0], anchor) for frames, anchor in seen} == {(0, None), (2, 1), (4, 3)}


@covers(*rows("comfy.controlnet", "ControlBase", "ControlBase()", "ControlBase.set_cond_hint", "ControlBase.pre_run",
              "ControlBase.copy_to", "ControlBase.get_models", "ControlBase.cleanup", "T2IAdapter.get_control"),
        *rows("comfy.hooks", "HookGroup", "HookGroup.add", "WrapperHook"))  # fmt: skip
def a_control_lives_as_core_has_them_live() -> None:
    import comfy.controlnet
    import comfy.hooks
    from comfy.patcher_extension import WrappersMP

    seen = []

    class Control(comfy.controlnet.ControlBase):
        def get_control(self, x: Any, t: Any, cond: Any, batched: int, transformer_options: Any) -> Any:
            assert (x.shape[0], t.shape[0]) == (batched, batched)
            assert "c_crossattn" in cond
            assert self.timestep_range[0] > self.timestep_range[1]
            assert transformer_options["cond_or_uncond"]
            seen.append("control")
            return {"input": [], "middle": [], "output": []}

        def cleanup(self) -> None:
            super().cleanup()
            seen.append("cleanup")

    def hooked(executor: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append("hook")
        return executor(*args, **kwargs)

    group = comfy.hooks.HookGroup()
    group.add(comfy.hooks.WrapperHook({"wrappers": {WrappersMP.CALC_COND_BATCH: {"test": [hooked]}}}))
    original = Control()
    original.extra_hooks = group
    image = tiny.hint(64, 128).movedim(-1, 1)
    assert original.set_cond_hint(image, 0.5, (0.1, 0.9)) is original
    control = Control()
    original.copy_to(control)
    assert control.cond_hint_original is image
    assert (control.strength, control.timestep_percent_range) == (0.5, (0.1, 0.9))
    assert (control.compression_ratio, control.previous_controlnet, control.get_models()) == (8, None, [])
    sampled(model(), positive=tiny.conditioning(1, control=control))
    assert list(dict.fromkeys(seen)) == ["hook", "control", "cleanup"]


@covers(*rows("comfy.controlnet", "ControlBase().multigpu_clones", "ControlBase.deepclone_multigpu"))
def a_control_is_copied_for_a_device() -> None:
    from comfy.controlnet import ControlBase, T2IAdapter

    assert ControlBase().multigpu_clones == {}
    control = tiny.core_control(tiny.adapter_config())
    assert isinstance(control.deepclone_multigpu(CPU, autoregister=True), T2IAdapter)
    assert list(control.multigpu_clones) == [CPU]


@covers(*rows("comfy.model_patcher", "ModelPatcher", "CoreModelPatcher", *(f"ModelPatcher.{name}" for name in (
            "clone", "get_model_object", "get_attachment", "set_attachments", "add_wrapper_with_key",
            "remove_wrappers_with_key", "is_dynamic"))),
        "patcher with model, load_device, offload_device, model_options and cached_patcher_init")  # fmt: skip
def patchers_are_made_cloned_and_hung_with_things() -> None:
    import comfy.model_patcher

    for kind in (comfy.model_patcher.CoreModelPatcher, comfy.model_patcher.ModelPatcher):
        network = torch.nn.Linear(1, 1)
        patcher = kind(network, load_device=CPU, offload_device=CPU)
        assert (patcher.model, patcher.load_device, patcher.offload_device) == (network, CPU, CPU)
    assert (patcher.cached_patcher_init, patcher.is_dynamic()) == (None, False)
    clone = model().clone(disable_dynamic=True)
    assert clone.get_model_object("diffusion_model") is model().model.diffusion_model
    assert clone.model_options["transformer_options"] is not model().model_options["transformer_options"]
    clone.set_attachments("test", 7)
    assert (clone.get_attachment("test"), model().get_attachment("test")) == (7, None)
    clone.add_wrapper_with_key("apply_model", "test", lambda *_: pytest.fail("removed, and called"))
    clone.remove_wrappers_with_key("apply_model", "test")
    sampled(clone)


@covers(*rows("comfy.model_base", "BaseModel.apply_model", "BaseModel.extra_conds", "BaseModel.process_latent_in",
              "BaseModel.get_dtype_inference"),
        "base with model_config.unet_config, diffusion_model, latent_format and model_sampling",
        "comfy.ldm.modules.attention:attention_pytorch",
        "optimized_attention_override(function, q, k, v, heads)")  # fmt: skip
def a_base_is_called_as_in_training() -> None:
    from t2i_adapter_pack.nodes import host

    base, heads = model().model, []
    assert base.model_config.unet_config["context_dim"] == tiny.CONTEXT
    assert base.get_dtype_inference() == torch.float32
    assert base.model_sampling.sigmas.shape == (1000,)
    noise = torch.ones(1, 4, *LATENT)
    assert torch.equal(base.process_latent_in(noise), base.latent_format.process_in(noise))
    (text, _), *_ = tiny.conditioning(1)
    conds = base.extra_conds(cross_attn=text, noise=noise, latent_image=noise, device=CPU, prompt_type="positive",
                             width=128, height=64)  # fmt: skip
    assert torch.equal(conds["c_crossattn"].cond, text)

    def override(chosen: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        heads.append(args[3])
        return host.plain_attention(chosen, *args, **kwargs)

    options = {"optimized_attention_override": override, "cond_or_uncond": [0], "sigmas": torch.ones(1)}
    with torch.no_grad():
        out = base.apply_model(noise, torch.ones(1), transformer_options=options, c_crossattn=text)
    assert out.shape == noise.shape
    assert heads


@covers(*rows(UNET, "UNetModel", "Downsample"),
        "UNet with input_blocks, middle_block, output_blocks and out_channels of layers")  # fmt: skip
def a_unet_shows_its_blocks() -> None:
    from comfy.ldm.modules.diffusionmodules.openaimodel import Downsample, UNetModel

    unet = model().model.diffusion_model
    assert isinstance(unet, UNetModel)
    assert (len(unet.input_blocks), len(unet.output_blocks), unet.middle_block is None) == (12, 12, False)
    assert isinstance(unet.input_blocks[3][0], Downsample)
    assert unet.input_blocks[1][0].out_channels == 32


@covers(*rows("comfy.model_sampling", "ModelSamplingDiscrete", "ModelSamplingDiscrete.sigma",
              "ModelSamplingDiscrete.percent_to_sigma", "EPS.calculate_denoised",
              "V_PREDICTION.calculate_denoised"))  # fmt: skip
def schedules_are_stable_diffusions() -> None:
    from comfy.model_sampling import EPS, V_PREDICTION, ModelSamplingDiscrete

    sampling = model().get_model_object("model_sampling")
    kind = type(sampling)
    assert issubclass(kind, ModelSamplingDiscrete)
    assert kind.sigma is ModelSamplingDiscrete.sigma
    assert kind.calculate_denoised is EPS.calculate_denoised is not V_PREDICTION.calculate_denoised
    assert sampling.percent_to_sigma(0.25) > sampling.percent_to_sigma(0.75) > sampling.percent_to_sigma(1.0) >= 0
