"""Run a training from node inputs to node outputs, and what the command shares with the node."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ...adapter_models.adapter import T2IAdapter
from ...adapter_models.families import UNetBlock, sites_for
from ...adapter_models.info import TRAINED_MODEL
from ...training.in_memory_dataset import Examples
from ...training.run_names import run_folder
from ...training.session import AdapterFactory, RunPlan, TrainingSession
from ...training.settings import Settings
from .. import host
from ..sampling.base_model import version_of
from .adapter_files import trained_adapter, write_adapter
from .examples import Materials, check_model, node_examples
from .frozen_denoiser import frozen_denoiser, keep_for_gradients
from .preview import progress_callback

# Folder of all runs, in the output folder.
RUNS = host.TRAINED_FOLDERS[0]
FACTORY = AdapterFactory(
    build=trained_adapter, write=lambda adapter, path: write_adapter(adapter, path, "original", torch.float32)
)


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


def train_adapter(
    model: Any,
    adapter: T2IAdapter,
    materials: Materials,
    settings: Settings,
    saving: Saving,
    preview_every: int = 0,
) -> tuple[T2IAdapter, list[float]]:
    """Train an adapter, or resume a run.

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
    plan = RunPlan(folder=saving.folder, settings=settings, save_every=saving.every, choices=asdict(settings))
    session = TrainingSession(plan, FACTORY)
    sites = training_sites(model, adapter)
    # The result is for this MODEL, whatever the adapter was made for.
    version = version_of(model)
    if version is not None:
        adapter = replace(adapter, info=adapter.info.for_family(version, TRAINED_MODEL))
    # ComfyUI runs nodes in inference mode, whose tensors can't be used by autograd.
    with torch.inference_mode(False):
        data = node_examples(model, adapter, materials)
        with session, started(session, model, adapter, data, sites) as loaded:
            on_step = progress_callback(session.trainer, loaded, data, materials.images[0][0], preview_every)
            try:
                session.run(on_step)
            except host.Cancelled:
                session.save_state()
                raise
        return session.result(), list(session.trainer.losses)


def training_sites(model: Any, adapter: T2IAdapter) -> tuple[UNetBlock, ...]:
    """Return the blocks of a MODEL's UNet that an adapter's levels are added to.

    Raises:
        AdapterError: The adapter does not fit the MODEL, or the MODEL can't be trained for; or a subclass.
    """
    sites = sites_for(adapter.info.name, adapter.network.config, host.unet_outline(model))
    check_model(model)
    return sites


@contextlib.contextmanager
def started(
    session: TrainingSession, model: Any, adapter: T2IAdapter, data: Examples, sites: tuple[UNetBlock, ...]
) -> Iterator[Any]:
    """Load a MODEL for training, start a session on it, and yield the loaded MODEL.

    Args:
        session: The session, entered.
        model: The MODEL.
        adapter: The adapter to start from.
        data: The examples.
        sites: From :func:`training_sites`.
    """
    with host.ready_to_train(model) as loaded:
        session.start(adapter, data, frozen_denoiser(loaded, sites), loaded.load_device)
        yield loaded


@contextlib.contextmanager
def paused(loaded: Any) -> Iterator[None]:
    """Let samplers use a MODEL in training; the run does not notice.

    Args:
        loaded: The MODEL from :func:`started`.
    """
    with host.training_paused(loaded):
        yield
    keep_for_gradients(loaded.model)
