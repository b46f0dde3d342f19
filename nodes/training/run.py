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
from ...training.in_memory_dataset import Examples, TrainingSet
from ...training.loop import AfterStep
from ...training.plans import RunPlan
from ...training.run_log import read_log
from ...training.run_names import run_folder
from ...training.session import AdapterFactory, TrainingSession
from ...training.settings import Settings
from ...training.validation import HELD_OUT_LOSS, at_intervals, held_out_loss, split_set
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


@dataclass(frozen=True)
class Showing:
    """How a run shows its progress.

    Attributes:
        preview_every: Steps between previews on the node; 0 for none.
        validate_every: Steps between measurements of the held-out loss; 0 measures only at the end.
        node_id: The node to show the held-out loss on; None to log it alone.
    """

    preview_every: int = 0
    validate_every: int = 0
    node_id: str | None = None


def train_adapter(
    model: Any,
    adapter: T2IAdapter,
    materials: Materials,
    settings: Settings,
    saving: Saving,
    showing: Showing = Showing(),
) -> tuple[T2IAdapter, dict[str, list[float]]]:
    """Train an adapter, or resume a run.

    Args:
        model: The MODEL.
        adapter: The adapter to start from; not changed.
        materials: The training data.
        settings: The training settings.
        saving: Where and how often to save.
        showing: What to show of the progress.

    Returns:
        The trained adapter, and the "loss" of every step since the first; with held-out examples also each
        "held_out_loss".

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
        data, held_out, first = split_set(node_examples(model, adapter, materials), settings.held_out_share)
        with session, started(session, model, adapter, data, sites) as loaded:
            shown, image = held_out or data, materials.image(first)
            on_step = progress_callback(session.trainer, loaded, shown, image, showing.preview_every)
            try:
                session.run(*_validation(session, held_out, showing), on_step)
            except host.Cancelled:
                session.save_state()
                raise
        return session.result(), _losses(session)


def _validation(session: TrainingSession, held_out: TrainingSet | None, showing: Showing) -> list[AfterStep]:
    if held_out is None:
        return []

    def measure(step: int) -> None:
        loss = session.values[HELD_OUT_LOSS] = held_out_loss(session.trainer, held_out)
        host.tell(f"Step {step}: held-out loss {loss:.4f}.", showing.node_id)

    return [at_intervals(showing.validate_every, session.plan.settings.steps, measure)]


def _losses(session: TrainingSession) -> dict[str, list[float]]:
    # The log also has those from before a resume.
    held_out = [line[HELD_OUT_LOSS] for line in read_log(session.plan.folder) if HELD_OUT_LOSS in line]
    return {"loss": list(session.trainer.losses), **({HELD_OUT_LOSS: held_out} if held_out else {})}


def training_sites(model: Any, adapter: T2IAdapter) -> tuple[UNetBlock, ...]:
    """Return the blocks of a MODEL's UNet that an adapter's levels are added to.

    Raises:
        AdapterError: The adapter does not fit the MODEL, or the MODEL can't be trained for; or a subclass.
    """
    sites = sites_for(adapter.info.name, adapter.network.config, host.unet_outline(model), adapter.info.made_for)
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
