"""The seam: the only package that imports ComfyUI's modules.

Seven files by subject: files, models, transformers, memory, page, sampling, training. The contract concerns all of them
and stays apart: ``interfaces`` is its table, and ``contract`` checks the table at every start.
"""

from __future__ import annotations

from comfy.patcher_extension import WrappersMP

from .contract import warn_of_changes
from .files import (
    ANNOTATOR_FOLDER,
    TRAINED_FOLDERS,
    annotator_folders,
    annotator_names,
    annotator_path,
    folders_of_other_packs,
    model_files,
    model_roots,
    output_folder,
    output_path,
    register_annotators,
    register_trained,
)
from .interfaces import INTERFACES
from .memory import OPERATIONS, Cancelled, intermediate_device, load_models, load_patcher, wrap_network
from .models import (
    CoreT2IAdapter,
    base_outline,
    latent_decoder,
    load_model_clip_vae,
    load_text_encoders,
    load_unet,
    load_vae,
    plain_attention,
    prediction_of,
    unet_outline,
    wrapper_hooks,
)
from .page import blocked, progress, running_node, save_for_page, show, show_pictures, tell, warn
from .sampling import (
    SamplerSettings,
    encode_prompt,
    load_control_net,
    sample_picture,
    sampler_names,
    scheduler_names,
    with_control_net,
)
from .training import literal_prompt, ready_to_train, training_paused
from .transformers import transformer_blocks

__all__ = [
    "ANNOTATOR_FOLDER",
    "INTERFACES",
    "OPERATIONS",
    "TRAINED_FOLDERS",
    "Cancelled",
    "CoreT2IAdapter",
    "SamplerSettings",
    "WrappersMP",
    "annotator_folders",
    "annotator_names",
    "annotator_path",
    "base_outline",
    "blocked",
    "encode_prompt",
    "folders_of_other_packs",
    "intermediate_device",
    "latent_decoder",
    "literal_prompt",
    "load_control_net",
    "load_model_clip_vae",
    "load_models",
    "load_patcher",
    "load_text_encoders",
    "load_unet",
    "load_vae",
    "model_files",
    "model_roots",
    "output_folder",
    "output_path",
    "plain_attention",
    "prediction_of",
    "progress",
    "ready_to_train",
    "register_annotators",
    "register_trained",
    "running_node",
    "sample_picture",
    "sampler_names",
    "save_for_page",
    "scheduler_names",
    "show",
    "show_pictures",
    "tell",
    "training_paused",
    "transformer_blocks",
    "unet_outline",
    "warn",
    "warn_of_changes",
    "with_control_net",
    "wrap_network",
    "wrapper_hooks",
]

register_annotators()
register_trained()
