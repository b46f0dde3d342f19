"""The seam: the only file that knows ComfyUI's internals. Everything else is plain torch or a node's face."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import comfy.controlnet
import comfy.hooks
import comfy.ldm.modules.attention
import comfy.ldm.modules.diffusionmodules.openaimodel as unet_modules
import comfy.model_management
import comfy.model_patcher
import comfy.model_sampling
import comfy.ops
import comfy.sd
import comfy.utils
import comfy_execution.graph_utils
import folder_paths
import latent_preview
import torch
from comfy.patcher_extension import WrappersMP
from comfy_execution.utils import get_executing_context
from torch import Tensor

from ..adapter_models.adapter import T2IAdapter
from ..adapter_models.combine import T2IFuser
from ..adapter_models.companions import FUSER, STYLE_ADAPTER, load_companion
from ..adapter_models.errors import FamilyMismatchError
from ..adapter_models.families import Block, UNetOutline
from ..adapter_models.features import FeatureCache
from ..adapter_models.loading import AdapterFile, load
from ..adapter_models.networks import Adapter
from ..adapter_models.stack import AdapterStack
from ..adapter_models.style import T2IStyleAdapter
from ..adapter_models.uses import AdapterUse
from .engine import InputPatch, MiddlePatch, StackEngine

logger = logging.getLogger(__name__)
ANNOTATORS = "annotators"
# Namespace of layers that ComfyUI can load in part, and that cast their weights to the picture's precision.
OPERATIONS: Any = comfy.ops.manual_cast
# The key of everything that the pack hangs on a MODEL.
KEY = "t2i_adapter"
OBSERVER = f"{KEY}_observer"
# Named here, so that a CONTROL_NET can be written without importing ComfyUI elsewhere.
ControlBase: type[Any] = comfy.controlnet.ControlBase
Cancelled: type[BaseException] = comfy.model_management.InterruptProcessingException
# More than there is: ComfyUI unloads everything else, as its own trainer has it do.
ALL_MEMORY = 1e20


# --- files ---------------------------------------------------------------------------------------------------------


def model_files(folders: Sequence[str]) -> dict[str, str]:
    """Return the files in folders of models by name; of two with one name the first folder's.

    Args:
        folders: ComfyUI's names of the folders, in the order in which they are searched.
    """
    found: dict[str, str] = {}
    for folder in folders:
        for name in folder_paths.get_filename_list(folder):
            path = folder_paths.get_full_path(folder, name)
            if path is not None:
                found.setdefault(name, path)
    return found


def model_roots(folders: Sequence[str]) -> list[str]:
    """Return the paths that ComfyUI searches for folders of models."""
    return [root for folder in folders for root in folder_paths.get_folder_paths(folder)]


def wrap_adapter(
    path: Path, name: str, member: str | None, *, bgr: bool | None, dtype: torch.dtype | None
) -> T2IAdapter:
    """Load an adapter and hand its memory to ComfyUI.

    Args:
        path: A weights file or a diffusers folder, wherever it is.
        name: How the user names it.
        member: Which entry of a CoAdapter bundle.
        bgr: Swap red and blue; None decides by the file (SDXL pose adapters were trained that way round).
        dtype: Precision to compute in; None for that of the diffusion model.

    Returns:
        The adapter, wrapped in a model patcher.
    """
    network, about = load(path, name, member, OPERATIONS)
    return own_adapter(network, about, bgr=about.bgr if bgr is None else bgr, dtype=dtype)


def own_adapter(network: Adapter, about: AdapterFile, *, bgr: bool, dtype: torch.dtype | None) -> T2IAdapter:
    """Hand the memory of an adapter to ComfyUI; its layers are of OPERATIONS."""
    patcher = wrap_network(network)
    return T2IAdapter(network, about, FeatureCache(patcher.offload_device), bgr, dtype, patcher)


def load_style_adapter(path: Path, name: str) -> T2IStyleAdapter:
    """Load a style adapter and hand its memory to ComfyUI."""
    network = load_companion(STYLE_ADAPTER, path, name, OPERATIONS)
    return T2IStyleAdapter(network, name, wrap_network(network))


def load_fuser(path: Path, name: str) -> T2IFuser:
    """Load a CoAdapter fuser and hand its memory to ComfyUI."""
    network = load_companion(FUSER, path, name, OPERATIONS)
    return T2IFuser(network, name, wrap_network(network))


def style_tokens(adapter: T2IStyleAdapter, hidden: Tensor) -> Tensor:
    """Compute a style's tokens.

    Args:
        adapter: The style adapter; ComfyUI loads it.
        hidden: (N, T, width), CLIP's last hidden state.

    Returns:
        (1, N · tokens, context) in full precision, where ComfyUI keeps results.
    """
    comfy.model_management.load_models_gpu([adapter.patcher])
    device = adapter.patcher.load_device  # type: ignore[attr-defined]
    return adapter.tokens(hidden.to(device)).to(comfy.model_management.intermediate_device())


# --- models --------------------------------------------------------------------------------------------------------


def load_checkpoint(path: Path) -> tuple[Any, Any, Any]:
    """Load the MODEL, the CLIP and the VAE of a checkpoint file; what it does not hold is None."""
    words = folder_paths.get_folder_paths("embeddings")
    model, clip, vae, *_ = comfy.sd.load_checkpoint_guess_config(str(path), embedding_directory=words)
    return model, clip, vae


def unet_outline(model: Any) -> UNetOutline:
    """Read the structure of a MODEL's UNet; see :func:`base_outline`."""
    return base_outline(model.model, model.get_model_object("diffusion_model"))


def base_outline(base: Any, unet: Any) -> UNetOutline:
    """Read the structure of a UNet.

    Args:
        base: ComfyUI's BaseModel.
        unet: Its diffusion model.

    Returns:
        Its blocks.

    Raises:
        FamilyMismatchError: The MODEL is no such UNet (a DiT, Stable Cascade…).
    """
    name = f"{type(base.model_config).__name__} ({type(base).__name__})"
    unet = getattr(unet, "_orig_mod", unet)  # compiled by another pack
    if not isinstance(unet, unet_modules.UNetModel):
        raise FamilyMismatchError(
            "model",
            f"the MODEL {name}, a {type(unet).__name__}",
            "a UNet of Stable Diffusion 1.x, 2.x or SDXL",
            "T2I-Adapters exist for those alone: load such a checkpoint.",
        )
    stride = base.latent_format.spacial_downscale_ratio
    blocks: list[Block] = []
    channels = 0
    for index, layers in enumerate(unet.input_blocks):
        shrinks = any(isinstance(layer, unet_modules.Downsample) or getattr(layer, "updown", False) for layer in layers)
        stride *= 2 if shrinks else 1
        channels = next((n for layer in reversed(layers) if isinstance(n := getattr(layer, "out_channels", None), int)),
                        channels)  # fmt: skip
        blocks.append(Block("input", index, channels, stride, shrinks))
    blocks.append(Block("middle", 0, channels, stride, computes=unet.middle_block is not None))
    return UNetOutline(name, tuple(blocks))


def stack_of(model: Any) -> AdapterStack:
    """Return the adapters of a MODEL."""
    return model.get_attachment(KEY) or AdapterStack()


def apply_adapter(model: Any, use: AdapterUse) -> Any:
    """Return a clone of a MODEL with one more adapter; the MODEL itself is left alone."""
    return with_stack(model, stack_of(model).with_use(use))


def with_stack(model: Any, stack: AdapterStack) -> Any:
    """Return a clone of a MODEL with these adapters in the place of its own; the MODEL itself is left alone."""
    clone = model.clone()
    clone.set_attachments(KEY, stack)
    engine = StackEngine(stack, clone.model.latent_format.spacial_downscale_ratio, load_network)
    for kind, wrapper in (
        (WrappersMP.PREPARE_SAMPLING, engine.prepare_sampling),
        (WrappersMP.SAMPLER_SAMPLE, engine.sampler_sample),
        (WrappersMP.CALC_COND_BATCH, engine.calc_cond_batch),
        (WrappersMP.APPLY_MODEL, engine.apply_model),
    ):
        clone.remove_wrappers_with_key(kind, KEY)
        clone.add_wrapper_with_key(kind, KEY, wrapper)
    patches = clone.model_options["transformer_options"].setdefault("patches", {})
    for name, patch in (("input_block_patch", InputPatch(stack)), ("middle_block_after_patch", MiddlePatch(stack))):
        # First, so that it works on the block's own output, as ComfyUI's own controls do, and may write into it.
        patches[name] = [patch, *(other for other in patches.get(name, []) if not isinstance(other, type(patch)))]
    return clone


def load_network(owner: T2IAdapter | T2IFuser, nbytes: int) -> None:
    """Have ComfyUI load a network, and make room for what its forward takes."""
    comfy.model_management.load_models_gpu([owner.patcher], memory_required=nbytes)


def observer_hooks() -> Any:
    """Return hooks that let a CONTROL_NET know of the prompts' areas and sides; it sees neither by itself."""
    observer = StackEngine(AdapterStack(), cell=8)
    hook = comfy.hooks.WrapperHook(
        {
            "wrappers": {
                WrappersMP.SAMPLER_SAMPLE: {OBSERVER: [observer.observe_run]},
                WrappersMP.CALC_COND_BATCH: {OBSERVER: [observer.observe_step]},
            }
        }
    )
    group = comfy.hooks.HookGroup()
    group.add(hook)
    return group


def blocked(message: str) -> Any:
    """Return what makes ComfyUI stop with a message at the nodes that use it."""
    return comfy_execution.graph_utils.ExecutionBlocker(message)


def warn(text: str, node_id: str | None) -> None:
    """Show a warning on a node of the page, and in the log."""
    tell(text, node_id, logging.WARNING)


def tell(text: str, node_id: str | None, level: int = logging.INFO) -> None:
    """Show a text on a node of the page, and in the log."""
    logger.log(level, text)
    from server import PromptServer

    instance = getattr(PromptServer, "instance", None)  # absent where nodes run without the server
    if instance is not None and node_id is not None:
        instance.send_progress_text(text, node_id)


# --- training ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def training(model: Any) -> Iterator[Any]:
    """Load a MODEL whole, as gradients through it need it, and yield a clone of it that is on its device."""
    # ComfyUI runs nodes in inference mode, whose tensors know no gradients.
    with torch.inference_mode(False):
        # A dynamic clone streams weights through memory that the backward pass still needs.
        clone = model.clone(disable_dynamic=True)
        comfy.model_management.load_models_gpu([clone], memory_required=ALL_MEMORY, force_full_load=True)
        comfy.model_management.in_training = True
        try:
            yield clone
        finally:
            comfy.model_management.in_training = False


def plain_attention(_chosen: Any, *args: Any, **kwargs: Any) -> Tensor:
    """Attend as torch does instead of as ComfyUI has chosen: not all of that knows gradients, or saves memory."""
    attended: Tensor = comfy.ldm.modules.attention.attention_pytorch(*args, **kwargs)
    return attended


def prediction_of(model: Any) -> str | None:
    """Say what a MODEL on SD's noise schedule predicts, ``eps`` or ``v``; None for any other."""
    kind, known = type(model.get_model_object("model_sampling")), comfy.model_sampling
    rows = ((known.EPS, "eps"), (known.V_PREDICTION, "v"))
    if not issubclass(kind, known.ModelSamplingDiscrete) or kind.sigma is not known.ModelSamplingDiscrete.sigma:
        return None
    return next((name for row, name in rows if kind.calculate_denoised is row.calculate_denoised), None)


def latent_decoder(model: Any, device: torch.device) -> Callable[[Tensor], Any] | None:
    """Return what makes a small PIL picture of a MODEL's latents, as ComfyUI's previews do; None if nothing can."""
    layout = model.model.latent_format
    previewer = latent_preview.get_previewer(device, layout)
    if previewer is None and layout.latent_rgb_factors is not None:  # off for samplers, but here it was asked for
        rough = latent_preview.Latent2RGBPreviewer
        previewer = rough(layout.latent_rgb_factors, layout.latent_rgb_factors_bias, layout.latent_rgb_factors_reshape)
    return None if previewer is None else previewer.decode_latent_to_preview


def output_path(prefix: str) -> tuple[Path, str]:
    """Return the folder and the next free name, without suffix, that a prefix stands for in the output folder."""
    folder, name, counter, _, _ = folder_paths.get_save_image_path(prefix, str(output_folder()))
    return Path(folder), f"{name}_{counter:05}_"


def output_folder() -> Path:
    """Return where ComfyUI keeps results."""
    return Path(folder_paths.get_output_directory())


# --- annotators ----------------------------------------------------------------------------------------------------


def register_annotators() -> None:
    """Make models/annotators a folder of models, behind those that the user named in extra_model_paths.yaml."""
    named, suffixes = folder_paths.folder_names_and_paths.get(ANNOTATORS, ([], set()))
    own = str(Path(folder_paths.models_dir, ANNOTATORS))
    paths = [*named, *([] if own in named else [own])]
    # A folder that only the user has named has an empty set of suffixes, which would offer every file in it.
    known = {*suffixes, *folder_paths.supported_pt_extensions}
    folder_paths.folder_names_and_paths[ANNOTATORS] = (paths, known)


def annotator_folders() -> list[Path]:
    """Return the folders of annotators' weights; downloads go into the first."""
    return [Path(path) for path in folder_paths.get_folder_paths(ANNOTATORS)]


def annotator_names() -> list[str]:
    """List the files in those folders, with their subfolders."""
    return list(folder_paths.get_filename_list(ANNOTATORS))


def annotator_path(name: str) -> Path | None:
    """Return the file of one of :func:`annotator_names`, or None."""
    path = folder_paths.get_full_path(ANNOTATORS, name)
    return None if path is None else Path(path)


def folders_of_other_packs() -> tuple[list[Path], list[Path]]:
    """Return where other packs may live: the folders of custom nodes, and those that ControlNets are loaded from."""
    packs = folder_paths.get_folder_paths("custom_nodes")
    return [Path(path) for path in packs], [Path(path) for path in folder_paths.get_folder_paths("controlnet")]


def wrap_network(network: torch.nn.Module, device: torch.device | None = None) -> Any:
    """Hand a network's memory to ComfyUI, for its main device unless another is named: return its model patcher."""
    # Layers that ComfyUI does not know can't be moved one by one, as its dynamic patcher does. The class is looked up
    # at run time: ComfyUI rebinds it when it starts with dynamic memory.
    kind = comfy.model_patcher.CoreModelPatcher if _by_layers(network) else comfy.model_patcher.ModelPatcher
    return kind(
        network,
        load_device=device or comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )


def load_annotator(patcher: Any, nbytes: int) -> torch.device:
    """Have ComfyUI load a wrapped network, with room for what its forward takes; return where it computes."""
    whole = not _by_layers(patcher.model)
    comfy.model_management.load_models_gpu([patcher], memory_required=nbytes, force_full_load=whole)
    device: torch.device = patcher.load_device
    return device


def _by_layers(network: torch.nn.Module) -> bool:
    layers = (layer for layer in network.modules() if next(layer.parameters(recurse=False), None) is not None)
    return all(hasattr(layer, "comfy_cast_weights") for layer in layers)


def progress(total: int = 1) -> Callable[..., None]:
    """Show a progress bar on the running node.

    Args:
        total: How much there is to do.

    Returns:
        A function to call with how much is done, with how much there is if that has changed, and with a PIL picture to
        show on the node: it raises when the user cancels.
    """
    bar = comfy.utils.ProgressBar(total)

    def done(count: int, total: int = total, picture: Any = None) -> None:
        # The bar is throttled, and so would be the cancelling.
        comfy.model_management.throw_exception_if_processing_interrupted()
        shown = None if picture is None else ("JPEG", picture, latent_preview.MAX_PREVIEW_RESOLUTION)
        bar.update_absolute(count, total, shown)

    return done


def intermediate_device() -> torch.device:
    """Return the device on which nodes hand pictures to each other."""
    device: torch.device = comfy.model_management.intermediate_device()
    return device


def running_node() -> str:
    """Return the id of the node that runs, or nothing outside of a run."""
    context = get_executing_context()
    return context.node_id if context is not None else ""


register_annotators()
