"""The seam: the only package that imports ComfyUI's modules."""

from __future__ import annotations

from comfy.patcher_extension import WrappersMP

from .contract import warn_of_changes
from .files import (
    ANNOTATORS,
    annotator_folders,
    annotator_names,
    annotator_path,
    folders_of_other_packs,
    model_files,
    model_roots,
    output_folder,
    output_path,
    register_annotators,
)
from .interfaces import INTERFACES
from .memory import OPERATIONS, Cancelled, intermediate_device, load_annotator_network, load_models, wrap_network
from .models import (
    CoreT2IAdapter,
    base_outline,
    latent_decoder,
    load_checkpoint,
    plain_attention,
    prediction_of,
    unet_outline,
    wrapper_hooks,
)
from .page import blocked, progress, running_node, tell, warn
from .prompts import literal_prompt
from .training import ready_to_train

__all__ = [
    "ANNOTATORS",
    "INTERFACES",
    "OPERATIONS",
    "Cancelled",
    "CoreT2IAdapter",
    "WrappersMP",
    "annotator_folders",
    "annotator_names",
    "annotator_path",
    "base_outline",
    "blocked",
    "folders_of_other_packs",
    "intermediate_device",
    "latent_decoder",
    "literal_prompt",
    "load_annotator_network",
    "load_checkpoint",
    "load_models",
    "model_files",
    "model_roots",
    "output_folder",
    "output_path",
    "plain_attention",
    "prediction_of",
    "progress",
    "ready_to_train",
    "register_annotators",
    "running_node",
    "tell",
    "unet_outline",
    "warn",
    "warn_of_changes",
    "wrap_network",
    "wrapper_hooks",
]

register_annotators()
