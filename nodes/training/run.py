"""Run a training from node inputs to node outputs: examples, loaded UNet, checkpoints, progress, cancel."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...adapter_models.adapter import T2IAdapter
from ...adapter_models.families import sites_for
from ...adapter_models.info import TRAINED_MODEL
from ...training.checkpoints import load_state, run_folder, save_state, write_whole
from ...training.errors import TrainingError
from ...training.in_memory_dataset import TrainingSet, training_set
from ...training.loop import Trainer, fit
from ...training.prompts import same_length
from ...training.runs import begin_run
from ...training.settings import Settings
from .. import host
from ..sampling import attach
from ..sampling.base_model import version_of
from .adapter_files import trained_adapter, write_adapter
from .frozen_denoiser import WHERE, frozen_denoiser, prompt_rows
from .preview import progress_callback

CONNECT = "Connect VAE Encode to latents and an annotator to images."
# In the output folder.
RUNS = "t2i_adapters"


@dataclass(frozen=True)
class Materials:
    """Training data in the formats of ComfyUI's sockets.

    Attributes:
        latents: LATENTs, each with one or more pictures.
        images: IMAGEs, each with one or more condition images.
        positive: CONDITIONING, one prompt per picture or one for all.
        empty: CONDITIONING of the empty prompt, or None.
    """

    latents: Sequence[Mapping[str, Any]]
    images: Sequence[Tensor]
    positive: Sequence[Any]
    empty: Sequence[Any] | None = None


@dataclass(frozen=True)
class Saving:
    """Where and how often a run is saved.

    Attributes:
        run_name: Name of the run's folder.
        every: Steps between checkpoints; 0 saves only at the end.
    """

    run_name: str
    every: int = 0

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return run_folder(host.output_folder() / RUNS, self.run_name)


def train(
    model: Any,
    adapter: T2IAdapter,
    materials: Materials,
    settings: Settings,
    saving: Saving,
    preview_every: int = 0,
) -> tuple[T2IAdapter, list[float]]:
    """Train an adapter, or continue a run.

    Args:
        model: The MODEL.
        adapter: The adapter to start from; not changed.
        materials: The training data.
        settings: The training settings.
        saving: Where and how often to save.
        preview_every: Steps between previews on the node; 0 for none.

    Returns:
        The trained adapter, and the loss of every step since the first.

    Raises:
        AdapterError: An input does not fit (raised before any work), or training diverged; or a subclass.
    """
    settings.check()
    folder = saving.folder
    sites = sites_for(adapter.info.name, adapter.network.config, host.unet_outline(model))
    check_model(model)
    # The result is for this TRAINED_MODEL, whatever the adapter was made for.
    version = version_of(model)
    if version is not None:
        adapter = replace(adapter, info=adapter.info.for_family(version, TRAINED_MODEL))
    # ComfyUI runs nodes in inference mode, whose tensors can't be used by autograd.
    with torch.inference_mode(False):
        data = examples(model, adapter, materials)
        state = load_state(folder)
        with host.ready_to_train(model) as loaded:
            trainer = Trainer(adapter.network, data, frozen_denoiser(loaded, sites), settings, loaded.load_device)
            if state is not None:
                trainer.load_state_dict(state)
            _begin(folder, settings)
            on_step = progress_callback(trainer, loaded, data, materials.images[0][0], preview_every)
            _run(trainer, adapter, saving, folder, on_step)
        return result(trainer, adapter, saving.run_name), list(trainer.losses)


def _begin(folder: Path, settings: Settings) -> None:
    """Write the settings first, so that a read-only folder fails now and not at the last step."""
    begin_run(folder, settings.steps)
    note = json.dumps(asdict(settings), indent=2).encode()
    write_whole(folder / "settings.json", lambda file: file.write(note))


def _run(
    trainer: Trainer, adapter: T2IAdapter, saving: Saving, folder: Path, on_step: Callable[[int, float], None]
) -> None:
    try:
        fit(trainer, lambda: save_progress(trainer, adapter, saving.run_name, folder), saving.every, on_step)
    except host.Cancelled:
        save_state(folder, trainer.state_dict())
        raise


def save_progress(trainer: Trainer, adapter: T2IAdapter, name: str, folder: Path) -> None:
    """Save the state of a run and the current adapter."""
    save_state(folder, trainer.state_dict())
    write_adapter(result(trainer, adapter, name), folder / f"{name}_step_{trainer.step:08}", "original", torch.float32)


def result(trainer: Trainer, adapter: T2IAdapter, name: str) -> T2IAdapter:
    """Return the trained adapter, with the training settings in its metadata."""
    facts = {**asdict(trainer.settings), "steps": trainer.step, "loss": trainer.losses[-1]}
    return trained_adapter(adapter, trainer.weights(), name, json.dumps(facts))


def check_model(model: Any) -> None:
    """Check that an adapter can be trained for a MODEL.

    Raises:
        TrainingError: The MODEL has adapters applied, or a noise schedule other than Stable Diffusion's.
    """
    if attach.stack_of(model).uses:
        raise TrainingError(
            f"{WHERE}, model",
            "a MODEL with adapters applied",
            "the bare diffusion model",
            "Connect the loader's output, from before Apply T2I-Adapter.",
        )
    if host.prediction_of(model) is None:
        raise TrainingError(
            f"{WHERE}, model",
            "a MODEL that predicts neither noise nor velocity on Stable Diffusion's schedule",
            "a checkpoint of SD1.x, SD2.x or SDXL",
            "Remove nodes that change its sampling (LCM, EDM, flow), or load another checkpoint.",
        )


def examples(model: Any, adapter: T2IAdapter, materials: Materials) -> TrainingSet:
    """Build the training set from the node's inputs.

    Raises:
        AdapterError: Counts, sizes or channels don't match; or a subclass.
    """
    pictures = _together("latents", [latent["samples"].float() for latent in materials.latents])
    images = _together("images", [image.float() for image in materials.images])
    base = model.model
    channels = base.latent_format.latent_channels
    if pictures.shape[1] != channels:
        raise TrainingError(
            f"{WHERE}, latents",
            f"shape {tuple(pictures.shape)}",
            f"pictures of {channels} channels",
            "Encode the pictures with the VAE of this MODEL.",
        )
    latents = base.process_latent_in(pictures.clone())
    prompts = prompt_rows(model, materials.positive, latents)
    empty = None if materials.empty is None else prompt_rows(model, materials.empty, latents)
    if empty is not None:
        prompts, empty = same_length(prompts, empty)
    return training_set(
        latents,
        images.movedim(-1, 1),
        prompts,
        adapter.network.config,
        cell=base.latent_format.spacial_downscale_ratio,
        empty=empty,
        bgr=adapter.bgr,
    )


def _together(name: str, parts: list[Tensor]) -> Tensor:
    if not parts:
        raise TrainingError(f"{WHERE}, {name}", "none", "at least one", "Connect the data set.")
    flat = next((part for part in parts if part.ndim != 4), None)
    if flat is not None:
        raise TrainingError(
            f"{WHERE}, {name}", f"shape {tuple(flat.shape)}", "a batch of pictures, of four dimensions", CONNECT
        )
    sizes = sorted({tuple(part.shape[1:]) for part in parts})
    if len(sizes) > 1:
        raise TrainingError(
            f"{WHERE}, {name}",
            f"shapes {', '.join(map(str, sizes))}",
            "one size for all",
            "Crop or scale all pictures to one size.",
        )
    return torch.cat([part.cpu() for part in parts])
