"""Calls of contract_calls.py: latents, layers, memory, files, the page, checkpoints and the nodes' schema."""

from __future__ import annotations

import asyncio
import tempfile
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ..cli.conftest import CHECKPOINT, learn_of_miniature
from . import tiny
from .contract_calls import CPU, LATENT, covers, model, rows

API = "comfy_api.latest"


@covers("comfy.latent_formats:LatentFormat",
        *rows("latent_preview", "get_previewer", "Latent2RGBPreviewer",
              "Latent2RGBPreviewer.decode_latent_to_preview", "MAX_PREVIEW_RESOLUTION"))  # fmt: skip
def latents_become_small_pictures() -> None:
    import latent_preview
    from comfy.latent_formats import SD15

    layout = SD15()
    assert (layout.latent_channels, layout.spacial_downscale_ratio) == (4, 8)
    previewer = latent_preview.get_previewer(CPU, layout)
    assert previewer is None or callable(previewer.decode_latent_to_preview)
    factors = layout.latent_rgb_factors, layout.latent_rgb_factors_bias, layout.latent_rgb_factors_reshape
    picture = latent_preview.Latent2RGBPreviewer(*factors).decode_latent_to_preview(torch.zeros(1, 4, *LATENT))
    assert picture.size == LATENT[::-1]
    assert latent_preview.MAX_PREVIEW_RESOLUTION > 0


@covers("comfy.ops:manual_cast", "comfy.ops:manual_cast.Conv2d.comfy_cast_weights")
def layers_cast_their_weights() -> None:
    from comfy.ops import manual_cast

    for layer, shape in (
        (manual_cast.Conv2d(1, 1, 1), (1, 1, 2, 2)),
        (manual_cast.ConvTranspose2d(1, 1, 1), (1, 1, 2, 2)),
        (manual_cast.Linear(1, 1), (1, 1)),
        (manual_cast.LayerNorm(1), (1, 1)),
    ):
        tiny.randomise(layer, 0)
        assert layer.comfy_cast_weights
        with torch.no_grad():
            assert layer(torch.ones(shape, dtype=torch.bfloat16)).dtype == torch.bfloat16


@covers(*rows("comfy.model_management", "load_models_gpu", "get_torch_device", "unet_offload_device",
              "intermediate_device", "in_training", "InterruptProcessingException",
              "throw_exception_if_processing_interrupted"))  # fmt: skip
def memory_and_cancelling_are_core_s() -> None:
    import comfy.model_management as management

    devices = management.get_torch_device(), management.unet_offload_device(), management.intermediate_device()
    assert all(isinstance(device, torch.device) for device in devices)
    assert management.in_training is False
    management.load_models_gpu([model()], memory_required=1, force_full_load=True)
    assert next(model().model.parameters()).device.type == model().load_device.type
    management.throw_exception_if_processing_interrupted()
    management.interrupt_current_processing()
    with pytest.raises(management.InterruptProcessingException):
        management.throw_exception_if_processing_interrupted()


@covers(*rows("folder_paths", "get_filename_list", "get_full_path", "get_folder_paths", "folder_names_and_paths",
              "supported_pt_extensions", "models_dir", "get_output_directory", "get_temp_directory",
              "get_save_image_path"))  # fmt: skip
def folders_are_found_by_name() -> None:
    import folder_paths

    paths, suffixes = folder_paths.folder_names_and_paths["controlnet"]
    assert folder_paths.get_folder_paths("controlnet") == list(paths)
    assert ".safetensors" in set(suffixes) & set(folder_paths.supported_pt_extensions)
    assert any(path.startswith(folder_paths.models_dir) for path in paths)
    assert "no such file" not in folder_paths.get_filename_list("controlnet")
    assert folder_paths.get_full_path("controlnet", "no such file") is None
    folder, name, counter, *_ = folder_paths.get_save_image_path("a/b", folder_paths.get_output_directory())
    assert (name, type(counter)) == ("b", int)
    assert folder.startswith(folder_paths.get_output_directory())
    assert folder_paths.get_temp_directory().endswith("temp")


@covers(*rows("comfy.utils", "ProgressBar", "ProgressBar.update_absolute"),
        *rows("comfy_execution.utils", "get_executing_context", "ExecutionContext"),
        "comfy_execution.graph_utils:ExecutionBlocker",
        *rows("server", "PromptServer.send_progress_text", "PromptServer.send_sync"))  # fmt: skip
def the_page_is_told() -> None:
    import comfy.utils
    from comfy_execution.graph_utils import ExecutionBlocker
    from comfy_execution.utils import CurrentNodeContext, get_executing_context
    from server import PromptServer

    sent: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", lambda *args, **_: sent.append(args[:3]))
        comfy.utils.ProgressBar(2).update_absolute(1, 3, ("JPEG", "picture", 8))
    assert sent == [(1, 3, ("JPEG", "picture", 8))]
    assert ExecutionBlocker("why").message == "why"
    assert get_executing_context() is None
    with CurrentNodeContext("prompt", "7"):
        assert (get_executing_context().prompt_id, get_executing_context().node_id) == ("prompt", "7")
    page = SimpleNamespace(send_sync=lambda *args: sent.append(args[1]), client_id=None)
    PromptServer.send_progress_text(page, "text", "7")
    assert sent[-1].endswith(b"7text")
    loop = SimpleNamespace(call_soon_threadsafe=lambda put, message: put(message))
    PromptServer.send_sync(SimpleNamespace(loop=loop, messages=SimpleNamespace(put_nowait=sent.append)), "event", {})
    assert sent[-1] == ("event", {}, None)


@covers(*rows("comfy.sd", "load_checkpoint_guess_config", "CLIP.tokenize", "CLIP.encode_from_tokens_scheduled",
              "VAE.encode"), "comfy.cli_args:args")  # fmt: skip
def a_checkpoint_encodes() -> None:
    import comfy.sd
    import comfy.supported_models
    from comfy.cli_args import args

    assert isinstance(args.cpu, bool)
    known = list(comfy.supported_models.models)
    learn_of_miniature()
    loaded, clip, vae, *_ = comfy.sd.load_checkpoint_guess_config(str(CHECKPOINT), embedding_directory=[])
    comfy.supported_models.models[:] = known
    (text, values), *_ = clip.encode_from_tokens_scheduled(clip.tokenize("a red circle"))
    assert (text.ndim, type(values)) == (3, dict)
    latents = loaded.model.process_latent_in(vae.encode(tiny.hint(64, 128)))
    assert latents.shape[-2:] == LATENT


@covers(*rows("comfy.sd", "load_diffusion_model", "load_clip", "VAE", "VAE.throw_exception_if_invalid"),
        "comfy.utils:load_torch_file")  # fmt: skip
def a_model_loads_from_its_parts() -> None:
    import comfy.sd
    import comfy.utils
    from safetensors.torch import save_file

    with tempfile.TemporaryDirectory() as folder:
        clip = f"{folder}/clip.safetensors"
        save_file({"text_model.encoder.layers.0.mlp.fc1.weight": torch.zeros(3072, 768)}, clip)
        assert comfy.sd.load_clip([clip], embedding_directory=[]).tokenize("a red circle")
        weights, metadata = comfy.utils.load_torch_file(clip, return_metadata=True)
        with pytest.raises(RuntimeError):
            comfy.sd.VAE(sd=weights, metadata=metadata).throw_exception_if_invalid()
        with pytest.raises(RuntimeError):
            comfy.sd.load_diffusion_model(clip)


@covers("comfy.sd:VAE.decode", *rows("comfy.sample", "prepare_noise", "sample"), "comfy.samplers:KSampler",
        "comfy.controlnet:load_controlnet", "ControlNet with copy and set_cond_hint(image, strength, percents, vae)",
        "prompt with control and control_apply_to_uncond")  # fmt: skip
def pictures_are_sampled_without_a_workflow() -> None:
    import comfy.controlnet
    import comfy.sample
    import comfy.samplers

    assert "ddim" in comfy.samplers.KSampler.SAMPLERS
    assert "normal" in comfy.samplers.KSampler.SCHEDULERS
    assert comfy.controlnet.load_controlnet(str(CHECKPOINT)) is None
    image = tiny.hint(64, 128).movedim(-1, 1)
    control = tiny.real_control_net().copy().set_cond_hint(image, 0.5, (0.0, 1.0), None)
    assert (control.strength, control.cond_hint_original) == (0.5, image)
    latent = torch.zeros(1, 4, *LATENT)
    noise = comfy.sample.prepare_noise(latent, 3)
    drawn = []
    for values in ({}, {"control": control, "control_apply_to_uncond": False}):
        prompts = tiny.conditioning(1, **values), tiny.conditioning(2, **values)
        settings = (1, 2.0, "ddim", "normal")
        drawn.append(comfy.sample.sample(model(), noise, *settings, *prompts, latent, disable_pbar=True, seed=3))
    assert drawn[0].shape == latent.shape
    assert not torch.equal(*drawn)


@covers(*rows(API, "ComfyExtension.on_load", "ComfyExtension.get_node_list", "io", "io.ComfyNode", "io.Hidden",
              "io.Schema", "io.NodeOutput", "io.Custom", "io.DynamicCombo.Option", "ui.PreviewImage",
              *(f"io.{kind}.Input" for kind in (
                  "Boolean", "ClipVisionOutput", "Combo", "Conditioning", "DynamicCombo", "Float", "Image", "Int",
                  "Latent", "Mask", "Model", "MultiType", "String")),
              *(f"io.{kind}.Output" for kind in ("Conditioning", "ControlNet", "Image", "Model", "String"))),
        *rows("comfy_api.input", "CurveInput.from_raw", "CurveInput.interp"))  # fmt: skip
def the_nodes_are_described() -> None:
    from comfy_api.input import CurveInput
    from comfy_api.latest import io, ui
    from t2i_adapter_pack.nodes import T2IAdapterExtension

    extension = T2IAdapterExtension()
    asyncio.run(extension.on_load())
    described = [node.GET_SCHEMA() for node in asyncio.run(extension.get_node_list())]
    assert all(schema.node_id and schema.description for schema in described)
    assert io.NodeOutput(1, 2, ui=None).args == (1, 2)
    assert ui.PreviewImage(tiny.hint(8, 8), cls=None).as_dict()["images"]
    assert CurveInput.from_raw([(0.0, 0.0), (1.0, 1.0)]).interp(0.5) == pytest.approx(0.5)
