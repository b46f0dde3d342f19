"""Every interface of ComfyUI that the pack relies on.

A new use of ComfyUI needs a row here and a call in tests/host/contract_*.py: a test compares table and source.
"""

from __future__ import annotations

from .contract import Interface

# What depends on them, as users know it.
_APPLY = "Apply T2I-Adapter"
_AREAS = "Regional prompts and weights for one side of the guidance"
_CONTROL = "T2I-Adapter as ControlNet"
_SPREAD = "T2I-Adapter as ControlNet on several GPUs"
_COMPILE = "Apply T2I-Adapter under TorchCompileModel"
_WINDOWS = "Condition images for the frames of a video"
_SCHEDULE = "Start, end and T2I-Adapter Schedule"
_BASE = "The check that an adapter fits the MODEL"
_MEMORY = "Loading and offloading adapters"
_CANCEL = "Cancelling annotators and training"
_TRAINING = "Train T2I-Adapter"
_COMMAND = "The training command"
_PICTURES = "Pictures made by the command"
_FILES = "Finding adapters and annotators"
_SAVING = "Saving adapters"
_PREVIEWS = "The previews of Train T2I-Adapter"
_MESSAGES = "Texts and warnings on nodes"
_PICTURES = "Condition images on nodes"
_STYLE = "CoAdapter with a style"
_NODES = "The nodes"
_INPUTS = "The inputs of nodes"
_TOKENS = "Adapters for transformers"

_WRAPPERS = (
    Interface("comfy.patcher_extension:WrappersMP", _APPLY,
              members="PREPARE_SAMPLING, SAMPLER_SAMPLE, CALC_COND_BATCH, APPLY_MODEL"),
    Interface("comfy.patcher_extension:WrapperExecutor", _APPLY, "_, class_obj, wrappers, ..."),
    # What the wrappers wrap: they receive its arguments.
    Interface("comfy.sampler_helpers:_prepare_sampling", _APPLY, "model, noise_shape, conds, model_options, ...",
              optional=True),
    Interface("comfy.samplers:KSAMPLER.sample", _APPLY, "model_wrap, sigmas, extra_args, callback, noise, ...",
              optional=True),
    Interface("comfy.samplers:_calc_cond_batch", _AREAS, "model, conds, x_in, timestep, model_options, ...",
              optional=True),
    Interface("comfy.model_base:BaseModel._apply_model", _APPLY,
              "x, t, c_concat, c_crossattn, control, transformer_options, ...", optional=True),
    Interface("transformer_options with block, cond_or_uncond, uuids and sigmas", _APPLY),
    Interface("input_block_patch(h, transformer_options), before the skip", _APPLY),
    Interface("middle_block_after_patch({h, transformer_options})", _APPLY),
    Interface("patches in lists, of which the first may write into its tensor", _APPLY),
    Interface("control, lists of which the last entry is taken first", _CONTROL),
    Interface("comfy.ldm.modules.diffusionmodules.openaimodel:apply_control", _CONTROL, "_, _, _"),
    Interface("guider with conds by name, and inner_model", _AREAS),
    Interface("cond with uuid, and area as height, width, top and left", _AREAS),
    Interface("model_conds['c_crossattn'].cond", _STYLE),
    Interface("comfy_api.torch_helpers.torch_compile:COMPILE_KEY", _COMPILE),
    Interface("comfy.context_windows:IndexListContextWindow", _WINDOWS, "index_list"),
    Interface("transformer_options with context_window of index_list and causal_anchor_index", _WINDOWS),
)  # fmt: skip
_CONTROLS = (
    Interface("comfy.controlnet:ControlBase", _CONTROL, ""),
    Interface("comfy.controlnet:ControlBase()", _CONTROL,
              members="cond_hint_original, cond_hint, strength, timestep_percent_range, timestep_range, "
              "compression_ratio, previous_controlnet, extra_hooks"),
    Interface("comfy.controlnet:ControlBase().multigpu_clones", _SPREAD, optional=True),
    Interface("comfy.controlnet:ControlBase.set_cond_hint", _CONTROL, "cond_hint, strength, timestep_percent_range"),
    Interface("comfy.controlnet:ControlBase.pre_run", _CONTROL, "model, percent_to_timestep_function"),
    Interface("comfy.controlnet:T2IAdapter.get_control", _CONTROL,
              "x_noisy, t, cond, batched_number, transformer_options, ..."),
    Interface("comfy.controlnet:ControlBase.copy_to", _CONTROL, "_"),
    Interface("comfy.controlnet:ControlBase.get_models", _CONTROL, ""),
    Interface("comfy.controlnet:ControlBase.cleanup", _CONTROL, ""),
    Interface("comfy.controlnet:ControlBase.deepclone_multigpu", _SPREAD, "load_device, autoregister", optional=True),
    Interface("comfy.hooks:HookGroup", _CONTROL, ""),
    Interface("comfy.hooks:HookGroup.add", _CONTROL, "_"),
    Interface("comfy.hooks:WrapperHook", _CONTROL, "_"),
)  # fmt: skip
_MODELS = (
    Interface("comfy.model_patcher:ModelPatcher", _MEMORY, "_, *, load_device, offload_device"),
    Interface("comfy.model_patcher:CoreModelPatcher", _MEMORY, "_, *, load_device, offload_device"),
    Interface("comfy.model_patcher:ModelPatcher.clone", _APPLY, "*, disable_dynamic"),
    Interface("comfy.model_patcher:ModelPatcher.get_model_object", _BASE, "_"),
    Interface("comfy.model_patcher:ModelPatcher.get_attachment", _APPLY, "_"),
    Interface("comfy.model_patcher:ModelPatcher.set_attachments", _APPLY, "_, _"),
    Interface("comfy.model_patcher:ModelPatcher.add_wrapper_with_key", _APPLY, "_, _, _"),
    Interface("comfy.model_patcher:ModelPatcher.remove_wrappers_with_key", _APPLY, "_, _"),
    Interface("comfy.model_patcher:ModelPatcher.is_dynamic", _TRAINING, ""),
    Interface("patcher with model, load_device, offload_device, model_options and cached_patcher_init", _MEMORY),
    Interface("comfy.model_base:BaseModel.apply_model", _TRAINING, "_, _, *, c_crossattn, transformer_options"),
    Interface("comfy.model_base:BaseModel.extra_conds", _TRAINING, "*, cross_attn, noise, latent_image, device"),
    Interface("comfy.model_base:BaseModel.process_latent_in", _TRAINING, "_"),
    Interface("comfy.model_base:BaseModel.get_dtype_inference", _APPLY, ""),
    Interface("base with model_config.unet_config, diffusion_model, latent_format and model_sampling", _BASE),
    Interface("comfy.ldm.modules.diffusionmodules.openaimodel:UNetModel", _BASE),
    Interface("comfy.ldm.modules.diffusionmodules.openaimodel:Downsample", _BASE),
    Interface("UNet with input_blocks, middle_block, output_blocks and out_channels of layers", _BASE),
    Interface("comfy.ldm.modules.attention:attention_pytorch", _TRAINING, "q, k, v, heads"),
    Interface("optimized_attention_override(function, q, k, v, heads)", _TRAINING),
    Interface("comfy.model_sampling:ModelSamplingDiscrete", _TRAINING),
    Interface("comfy.model_sampling:ModelSamplingDiscrete.sigma", _TRAINING, "_"),
    Interface("comfy.model_sampling:ModelSamplingDiscrete.percent_to_sigma", _SCHEDULE, "_"),
    Interface("comfy.model_sampling:EPS.calculate_denoised", _TRAINING, "_, _, _"),
    Interface("comfy.model_sampling:V_PREDICTION.calculate_denoised", _TRAINING, "_, _, _"),
    Interface("comfy.latent_formats:LatentFormat", _PREVIEWS,
              members="latent_channels, spacial_downscale_ratio, latent_rgb_factors, latent_rgb_factors_bias, "
              "latent_rgb_factors_reshape"),
    Interface("comfy.sd:load_checkpoint_guess_config", _COMMAND, "_, *, embedding_directory"),
    Interface("comfy.sd:load_diffusion_model", _COMMAND, "_"),
    Interface("comfy.sd:load_clip", _COMMAND, "_, *, embedding_directory"),
    Interface("comfy.sd:VAE", _COMMAND, "*, sd, metadata"),
    Interface("comfy.sd:VAE.throw_exception_if_invalid", _COMMAND, ""),
    Interface("comfy.utils:load_torch_file", _COMMAND, "_, *, return_metadata"),
    Interface("comfy.sd:CLIP.tokenize", _COMMAND, "_"),
    Interface("comfy.sd:CLIP.encode_from_tokens_scheduled", _COMMAND, "_"),
    Interface("comfy.sd:VAE.encode", _COMMAND, "_"),
    Interface("comfy.cli_args:args", _COMMAND, members="cpu"),
    Interface("comfy.sd:VAE.decode", _PICTURES, "_"),
    Interface("comfy.sample:prepare_noise", _PICTURES, "_, _"),
    Interface("comfy.sample:sample", _PICTURES, "_, _, _, _, _, _, _, _, _, *, disable_pbar, seed"),
    Interface("comfy.samplers:KSampler", _PICTURES, members="SAMPLERS, SCHEDULERS"),
    Interface("comfy.controlnet:load_controlnet", _PICTURES, "_"),
    Interface("ControlNet with copy and set_cond_hint(image, strength, percents, vae)", _PICTURES),
    Interface("prompt with control and control_apply_to_uncond", _PICTURES),
)  # fmt: skip
_TRANSFORMERS = (
    Interface("comfy.ldm.flux.model:Flux", _TOKENS),
    Interface("comfy.ldm.chroma.model:Chroma", _TOKENS),
    Interface("comfy.ldm.qwen_image.model:QwenImageTransformer2DModel", _TOKENS),
    Interface("comfy.ldm.lumina.model:NextDiT", _TOKENS),
    Interface("comfy.model_sampling:CONST.calculate_denoised", _TOKENS, "_, _, _"),
    Interface("comfy.model_sampling:ModelSamplingFlux", _TOKENS),
    Interface("comfy.model_sampling:ModelSamplingDiscreteFlow", _TOKENS),
    Interface("control['input'] and patches double_block, after each block of a transformer", _TOKENS),
)
_MANAGEMENT = (
    Interface("comfy.ops:manual_cast", _MEMORY, members="Conv2d, ConvTranspose2d, Linear, LayerNorm"),
    Interface("comfy.ops:manual_cast.Conv2d.comfy_cast_weights", _MEMORY),
    Interface("comfy.model_management:load_models_gpu", _MEMORY, "_, *, memory_required, force_full_load"),
    Interface("comfy.model_management:get_torch_device", _MEMORY, ""),
    Interface("comfy.model_management:unet_offload_device", _MEMORY, ""),
    Interface("comfy.model_management:intermediate_device", _MEMORY, ""),
    Interface("comfy.model_management:in_training", _TRAINING),
    Interface("comfy.model_management:InterruptProcessingException", _CANCEL),
    Interface("comfy.model_management:throw_exception_if_processing_interrupted", _CANCEL, ""),
)
_PLACES = (
    Interface("folder_paths:get_filename_list", _FILES, "_"),
    Interface("folder_paths:get_full_path", _FILES, "_, _"),
    Interface("folder_paths:get_folder_paths", _FILES, "_"),
    Interface("folder_paths:folder_names_and_paths", _FILES, members="get, __setitem__"),
    Interface("folder_paths:supported_pt_extensions", _FILES, members="__iter__"),
    Interface("folder_paths:models_dir", _FILES),
    Interface("folder_paths:get_output_directory", _SAVING, ""),
    Interface("folder_paths:get_temp_directory", _PICTURES, ""),
    Interface("folder_paths:get_save_image_path", _SAVING, "_, _"),
)
_PAGE = (
    Interface("comfy.utils:ProgressBar", _MESSAGES, "_"),
    Interface("comfy.utils:ProgressBar.update_absolute", _PREVIEWS, "_, _, _"),
    Interface("comfy_execution.graph_utils:ExecutionBlocker", _STYLE, "_"),
    Interface("comfy_execution.utils:get_executing_context", _MEMORY, ""),
    Interface("comfy_execution.utils:ExecutionContext", _MEMORY, members="node_id, prompt_id"),
    Interface("server:PromptServer.send_progress_text", _MESSAGES, "_, _"),
    Interface("server:PromptServer.send_sync", _MESSAGES, "_, _"),
    Interface("latent_preview:get_previewer", _PREVIEWS, "_, _"),
    Interface("latent_preview:Latent2RGBPreviewer", _PREVIEWS, "_, _, _"),
    Interface("latent_preview:Latent2RGBPreviewer.decode_latent_to_preview", _PREVIEWS, "_"),
    Interface("latent_preview:MAX_PREVIEW_RESOLUTION", _PREVIEWS),
)
_SCHEMA = (
    Interface("comfy_api.latest:ComfyExtension.on_load", _NODES, ""),
    Interface("comfy_api.latest:ComfyExtension.get_node_list", _NODES, ""),
    Interface("comfy_api.latest:io", _NODES,
              members="ComfyNode, Schema, NodeOutput, Hidden, Custom, Curve, Boolean, ClipVisionOutput, Combo, "
              "Conditioning, ControlNet, DynamicCombo, Float, Image, Int, Latent, Mask, Model, MultiType, String"),
    Interface("comfy_api.latest:io.ComfyNode", _NODES, members="hidden, define_schema, execute"),
    Interface("comfy_api.latest:io.Hidden", _NODES, members="unique_id"),
    Interface("comfy_api.latest:io.Schema", _NODES, "*, node_id, display_name, category, description, search_aliases, "
              "inputs, outputs, hidden, is_input_list, is_output_node"),
    Interface("comfy_api.latest:io.NodeOutput", _NODES, "_, *, ui"),
    Interface("comfy_api.latest:io.Custom", _NODES, "_"),
    *(Interface(f"comfy_api.latest:io.{name}.Input", _INPUTS, f"_, *, {own}optional, tooltip") for name, own in (
        ("Boolean", "default, "),
        ("Combo", "options, default, advanced, "),
        ("DynamicCombo", "options, "),
        ("Float", "default, min, max, step, advanced, "),
        ("Int", "default, min, max, step, control_after_generate, advanced, "),
        ("MultiType", "types, extra_dict, "),
        ("String", "default, multiline, "),
        ("ClipVisionOutput", ""), ("Conditioning", ""), ("Image", ""), ("Latent", ""), ("Mask", ""), ("Model", ""),
    )),
    Interface("comfy_api.latest:io.DynamicCombo.Option", _INPUTS, "_, _"),
    *(Interface(f"comfy_api.latest:io.{name}.Output", _NODES, "_, *, tooltip") for name in (
        "Conditioning", "ControlNet", "Image", "Model", "String",
    )),
    Interface("comfy_api.latest:ui.PreviewImage", _NODES, "_, *, cls"),
    Interface("comfy_api.input:CurveInput.from_raw", _SCHEDULE, "_"),
    Interface("comfy_api.input:CurveInput.interp", _SCHEDULE, "_"),
)  # fmt: skip

INTERFACES = (*_WRAPPERS, *_CONTROLS, *_MODELS, *_TRANSFORMERS, *_MANAGEMENT, *_PLACES, *_PAGE, *_SCHEMA)
