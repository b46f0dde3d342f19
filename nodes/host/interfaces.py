"""Every interface of ComfyUI that the pack relies on.

A new use of ComfyUI needs a row here and a call in tests/host/contract_*.py: a test compares table and source.
"""

from __future__ import annotations

from .contract import Interface

# What depends on them, as users know it.
APPLY = "Apply T2I-Adapter"
AREAS = "Regional prompts and weights for one side of the guidance"
CONTROL = "T2I-Adapter as ControlNet"
SPREAD = "T2I-Adapter as ControlNet on several GPUs"
COMPILE = "Apply T2I-Adapter under TorchCompileModel"
WINDOWS = "Condition images for the frames of a video"
SCHEDULE = "Start, end and T2I-Adapter Schedule"
BASE = "The check that an adapter fits the MODEL"
MEMORY = "Loading and offloading adapters"
CANCEL = "Cancelling annotators and training"
TRAINING = "Train T2I-Adapter"
COMMAND = "The training command"
FILES = "Finding adapters and annotators"
SAVING = "Saving adapters"
PREVIEWS = "The previews of Train T2I-Adapter"
MESSAGES = "Texts and warnings on nodes"
STYLE = "CoAdapter with a style"
NODES = "The nodes"
INPUTS = "The inputs of nodes"

WRAPPERS = (
    Interface("comfy.patcher_extension:WrappersMP", APPLY,
              members="PREPARE_SAMPLING, SAMPLER_SAMPLE, CALC_COND_BATCH, APPLY_MODEL"),
    Interface("comfy.patcher_extension:WrapperExecutor", APPLY, "_, class_obj, wrappers, ..."),
    # What the wrappers wrap: they receive its arguments.
    Interface("comfy.sampler_helpers:_prepare_sampling", APPLY, "model, noise_shape, conds, model_options, ...",
              optional=True),
    Interface("comfy.samplers:KSAMPLER.sample", APPLY, "model_wrap, sigmas, extra_args, callback, noise, ...",
              optional=True),
    Interface("comfy.samplers:_calc_cond_batch", AREAS, "model, conds, x_in, timestep, model_options, ...",
              optional=True),
    Interface("comfy.model_base:BaseModel._apply_model", APPLY,
              "x, t, c_concat, c_crossattn, control, transformer_options, ...", optional=True),
    Interface("transformer_options with block, cond_or_uncond, uuids and sigmas", APPLY),
    Interface("input_block_patch(h, transformer_options), before the skip", APPLY),
    Interface("middle_block_after_patch({h, transformer_options})", APPLY),
    Interface("patches in lists, of which the first may write into its tensor", APPLY),
    Interface("control, lists of which the last entry is taken first", CONTROL),
    Interface("comfy.ldm.modules.diffusionmodules.openaimodel:apply_control", CONTROL, "_, _, _"),
    Interface("guider with conds by name, and inner_model", AREAS),
    Interface("cond with uuid, and area as height, width, top and left", AREAS),
    Interface("model_conds['c_crossattn'].cond", STYLE),
    Interface("comfy_api.torch_helpers.torch_compile:COMPILE_KEY", COMPILE),
    Interface("comfy.context_windows:IndexListContextWindow", WINDOWS, "index_list"),
    Interface("transformer_options with context_window of index_list and causal_anchor_index", WINDOWS),
)  # fmt: skip
CONTROLS = (
    Interface("comfy.controlnet:ControlBase", CONTROL, ""),
    Interface("comfy.controlnet:ControlBase()", CONTROL,
              members="cond_hint_original, cond_hint, strength, timestep_percent_range, timestep_range, "
              "compression_ratio, previous_controlnet, extra_hooks"),
    Interface("comfy.controlnet:ControlBase().multigpu_clones", SPREAD, optional=True),
    Interface("comfy.controlnet:ControlBase.set_cond_hint", CONTROL, "cond_hint, strength, timestep_percent_range"),
    Interface("comfy.controlnet:ControlBase.pre_run", CONTROL, "model, percent_to_timestep_function"),
    Interface("comfy.controlnet:T2IAdapter.get_control", CONTROL,
              "x_noisy, t, cond, batched_number, transformer_options, ..."),
    Interface("comfy.controlnet:ControlBase.copy_to", CONTROL, "_"),
    Interface("comfy.controlnet:ControlBase.get_models", CONTROL, ""),
    Interface("comfy.controlnet:ControlBase.cleanup", CONTROL, ""),
    Interface("comfy.controlnet:ControlBase.deepclone_multigpu", SPREAD, "load_device, autoregister", optional=True),
    Interface("comfy.hooks:HookGroup", CONTROL, ""),
    Interface("comfy.hooks:HookGroup.add", CONTROL, "_"),
    Interface("comfy.hooks:WrapperHook", CONTROL, "_"),
)  # fmt: skip
MODELS = (
    Interface("comfy.model_patcher:ModelPatcher", MEMORY, "_, *, load_device, offload_device"),
    Interface("comfy.model_patcher:CoreModelPatcher", MEMORY, "_, *, load_device, offload_device"),
    Interface("comfy.model_patcher:ModelPatcher.clone", APPLY, "*, disable_dynamic"),
    Interface("comfy.model_patcher:ModelPatcher.get_model_object", BASE, "_"),
    Interface("comfy.model_patcher:ModelPatcher.get_attachment", APPLY, "_"),
    Interface("comfy.model_patcher:ModelPatcher.set_attachments", APPLY, "_, _"),
    Interface("comfy.model_patcher:ModelPatcher.add_wrapper_with_key", APPLY, "_, _, _"),
    Interface("comfy.model_patcher:ModelPatcher.remove_wrappers_with_key", APPLY, "_, _"),
    Interface("comfy.model_patcher:ModelPatcher.is_dynamic", TRAINING, ""),
    Interface("patcher with model, load_device, offload_device, model_options and cached_patcher_init", MEMORY),
    Interface("comfy.model_base:BaseModel.apply_model", TRAINING, "_, _, *, c_crossattn, transformer_options"),
    Interface("comfy.model_base:BaseModel.extra_conds", TRAINING, "*, cross_attn, noise, latent_image, device"),
    Interface("comfy.model_base:BaseModel.process_latent_in", TRAINING, "_"),
    Interface("comfy.model_base:BaseModel.get_dtype_inference", APPLY, ""),
    Interface("base with model_config.unet_config, diffusion_model, latent_format and model_sampling", BASE),
    Interface("comfy.ldm.modules.diffusionmodules.openaimodel:UNetModel", BASE),
    Interface("comfy.ldm.modules.diffusionmodules.openaimodel:Downsample", BASE),
    Interface("UNet with input_blocks, middle_block, output_blocks and out_channels of layers", BASE),
    Interface("comfy.ldm.modules.attention:attention_pytorch", TRAINING, "q, k, v, heads"),
    Interface("optimized_attention_override(function, q, k, v, heads)", TRAINING),
    Interface("comfy.model_sampling:ModelSamplingDiscrete", TRAINING),
    Interface("comfy.model_sampling:ModelSamplingDiscrete.sigma", TRAINING, "_"),
    Interface("comfy.model_sampling:ModelSamplingDiscrete.percent_to_sigma", SCHEDULE, "_"),
    Interface("comfy.model_sampling:EPS.calculate_denoised", TRAINING, "_, _, _"),
    Interface("comfy.model_sampling:V_PREDICTION.calculate_denoised", TRAINING, "_, _, _"),
    Interface("comfy.latent_formats:LatentFormat", PREVIEWS,
              members="latent_channels, spacial_downscale_ratio, latent_rgb_factors, latent_rgb_factors_bias, "
              "latent_rgb_factors_reshape"),
    Interface("comfy.sd:load_checkpoint_guess_config", COMMAND, "_, *, embedding_directory"),
    Interface("comfy.sd:CLIP.tokenize", COMMAND, "_"),
    Interface("comfy.sd:CLIP.encode_from_tokens_scheduled", COMMAND, "_"),
    Interface("comfy.sd:VAE.encode", COMMAND, "_"),
    Interface("comfy.cli_args:args", COMMAND, members="cpu"),
)  # fmt: skip
MANAGEMENT = (
    Interface("comfy.ops:manual_cast", MEMORY, members="Conv2d, ConvTranspose2d, Linear, LayerNorm"),
    Interface("comfy.ops:manual_cast.Conv2d.comfy_cast_weights", MEMORY),
    Interface("comfy.model_management:load_models_gpu", MEMORY, "_, *, memory_required, force_full_load"),
    Interface("comfy.model_management:get_torch_device", MEMORY, ""),
    Interface("comfy.model_management:unet_offload_device", MEMORY, ""),
    Interface("comfy.model_management:intermediate_device", MEMORY, ""),
    Interface("comfy.model_management:in_training", TRAINING),
    Interface("comfy.model_management:InterruptProcessingException", CANCEL),
    Interface("comfy.model_management:throw_exception_if_processing_interrupted", CANCEL, ""),
)
PLACES = (
    Interface("folder_paths:get_filename_list", FILES, "_"),
    Interface("folder_paths:get_full_path", FILES, "_, _"),
    Interface("folder_paths:get_folder_paths", FILES, "_"),
    Interface("folder_paths:folder_names_and_paths", FILES, members="get, __setitem__"),
    Interface("folder_paths:supported_pt_extensions", FILES, members="__iter__"),
    Interface("folder_paths:models_dir", FILES),
    Interface("folder_paths:get_output_directory", SAVING, ""),
    Interface("folder_paths:get_save_image_path", SAVING, "_, _"),
)
PAGE = (
    Interface("comfy.utils:ProgressBar", MESSAGES, "_"),
    Interface("comfy.utils:ProgressBar.update_absolute", PREVIEWS, "_, _, _"),
    Interface("comfy_execution.graph_utils:ExecutionBlocker", STYLE, "_"),
    Interface("comfy_execution.utils:get_executing_context", MEMORY, ""),
    Interface("comfy_execution.utils:ExecutionContext", MEMORY, members="node_id"),
    Interface("server:PromptServer.send_progress_text", MESSAGES, "_, _"),
    Interface("latent_preview:get_previewer", PREVIEWS, "_, _"),
    Interface("latent_preview:Latent2RGBPreviewer", PREVIEWS, "_, _, _"),
    Interface("latent_preview:Latent2RGBPreviewer.decode_latent_to_preview", PREVIEWS, "_"),
    Interface("latent_preview:MAX_PREVIEW_RESOLUTION", PREVIEWS),
)
SCHEMA = (
    Interface("comfy_api.latest:ComfyExtension.on_load", NODES, ""),
    Interface("comfy_api.latest:ComfyExtension.get_node_list", NODES, ""),
    Interface("comfy_api.latest:io", NODES,
              members="ComfyNode, Schema, NodeOutput, Hidden, Custom, Curve, Boolean, ClipVisionOutput, Combo, "
              "Conditioning, ControlNet, DynamicCombo, Float, Image, Int, Latent, Mask, Model, MultiType, String"),
    Interface("comfy_api.latest:io.ComfyNode", NODES, members="hidden, define_schema, execute"),
    Interface("comfy_api.latest:io.Hidden", NODES, members="unique_id"),
    Interface("comfy_api.latest:io.Schema", NODES, "*, node_id, display_name, category, description, search_aliases, "
              "inputs, outputs, hidden, is_input_list, is_output_node"),
    Interface("comfy_api.latest:io.NodeOutput", NODES, "_, *, ui"),
    Interface("comfy_api.latest:io.Custom", NODES, "_"),
    *(Interface(f"comfy_api.latest:io.{kind}.Input", INPUTS, f"_, *, {own}optional, tooltip") for kind, own in (
        ("Boolean", "default, "),
        ("Combo", "options, default, "),
        ("DynamicCombo", "options, "),
        ("Float", "default, min, max, step, "),
        ("Int", "default, min, max, step, control_after_generate, "),
        ("MultiType", "types, extra_dict, "),
        ("String", "default, multiline, "),
        ("ClipVisionOutput", ""), ("Conditioning", ""), ("Image", ""), ("Latent", ""), ("Mask", ""), ("Model", ""),
    )),
    Interface("comfy_api.latest:io.DynamicCombo.Option", INPUTS, "_, _"),
    *(Interface(f"comfy_api.latest:io.{kind}.Output", NODES, "_, *, tooltip") for kind in (
        "Conditioning", "ControlNet", "Image", "Model", "String",
    )),
    Interface("comfy_api.latest:ui.PreviewImage", NODES, "_, *, cls"),
    Interface("comfy_api.input:CurveInput.from_raw", SCHEDULE, "_"),
    Interface("comfy_api.input:CurveInput.interp", SCHEDULE, "_"),
)  # fmt: skip

INTERFACES = (*WRAPPERS, *CONTROLS, *MODELS, *MANAGEMENT, *PLACES, *PAGE, *SCHEMA)
