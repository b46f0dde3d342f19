"""A run of the command: examples, training, checkpoints, and the finished adapter."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ..adapter_models.adapter import T2IAdapter
from ..adapter_models.conditions import CONDITIONS
from ..adapter_models.families import sites_for
from ..adapter_models.info import TRAINING_SETTINGS
from ..adapter_models.saving import FILE_DTYPES, diffusers_config, layout_named
from ..nodes import host
from ..nodes.loading import adapters
from ..nodes.train import CreateT2IAdapter
from ..nodes.training.adapter_files import OTHER, write_adapter
from ..nodes.training.frozen_denoiser import frozen_denoiser
from ..nodes.training.run import RUNS, check_model, result, save_progress
from ..training.cache import File, prepare
from ..training.cached_dataset import CachedSet, nothing_to_learn
from ..training.checkpoints import check_run_name, load_state, require_state, write_whole
from ..training.distributed import Processes
from ..training.errors import TrainingError
from ..training.loop import Trainer, fit
from ..training.runs import begin_run
from ..training.samples import Listing, Skipped
from ..training.shards import list_data
from .annotate import preset_named
from .encode import Checkpoint, load_checkpoint, recipe
from .options import Options
from .stopping import Stopping

logger = logging.getLogger(__name__)
CACHE = "cache"
SKIPPED = "skipped.txt"
# So many of what was left out are named on the screen; the file names all.
NAMED = 10
# The loss that is shown is the mean of so many steps.
SHOWN = 50


class StoppedError(Exception):
    """The user has stopped the run; it can go on."""


def train(options: Options, processes: Processes) -> None:
    """Train an adapter, or continue a run.

    Args:
        options: What the user asks for.
        processes: Those that train together.

    Raises:
        AdapterError: One of its kinds, or an AnnotatorError: something does not fit, or training came apart.
        StoppedError: The user has stopped it, after everything was saved.
    """
    settings = options.settings(processes.count)
    settings.check()
    check_run_name(options.name)
    listing = list_data(options.data)
    if not listing.samples:
        raise nothing_to_learn(listing.skipped)
    folder = (options.output or host.output_folder() / RUNS).expanduser().absolute() / options.name
    if processes.first:
        _begin(folder, options)
    checkpoint = load_checkpoint(options.checkpoint)
    check_model(checkpoint.model)
    adapter = starting_adapter(options, checkpoint.model)
    outline = host.unet_outline(checkpoint.model)
    sites = sites_for(adapter.info.name, adapter.network.config, outline)
    if layout_named(options.format).folder:
        diffusers_config(adapter.network.config)
    data = _examples(options, listing, checkpoint, adapter, folder, processes)
    with host.ready_to_train(checkpoint.model) as loaded:
        denoiser = frozen_denoiser(loaded, sites)
        trainer = Trainer(adapter.network, data, denoiser, settings, loaded.load_device, processes)
        state = load_state(folder)
        if state is not None:
            trainer.load_state_dict(state)
            _tell(processes, f"Going on after step {trainer.step}.")
        _fit(trainer, adapter, options, folder)
    if processes.first:
        finished = result(trainer, adapter, options.name)
        path = write_adapter(finished, folder / options.name, options.format, FILE_DTYPES[options.dtype])
        _tell(processes, f"Finished: {path}")


def _begin(folder: Path, options: Options) -> None:
    """Make the run's folder, so that one that can't be written to is found out before any work."""
    begin_run(folder, options.steps)
    require_state(folder)
    note = json.dumps(asdict(options), indent=2, default=str).encode()
    write_whole(folder / "options.json", lambda file: file.write(note))


def starting_adapter(options: Options, model: Any) -> T2IAdapter:
    """Return where the adapter begins: a file, or a new one, perhaps with another one's weights.

    Args:
        options: What the user asks for.
        model: The MODEL.
    """
    if options.adapter is None:
        kind = options.condition or OTHER
        start = None if options.start_from is None else _load("start-from", options.start_from)
        made: T2IAdapter = CreateT2IAdapter.execute(
            model, options.size, str(options.image_channels), kind, options.seed, start
        )[0]
        return made
    if options.start_from is not None:
        raise TrainingError(
            "start-from",
            "two adapters, of --adapter and --start-from",
            "one",
            "Leave --start-from out to train further; leave --adapter out to make a new one.",
        )
    loaded = _load("adapter", options.adapter)
    condition = next((row for row in CONDITIONS if row.name == options.condition), None)
    return (
        loaded if condition is None else replace(loaded, info=loaded.info.for_condition(condition, TRAINING_SETTINGS))
    )


def _load(option: str, file: Path) -> T2IAdapter:
    if not file.exists():
        raise TrainingError(option, f"{file}, which is no file", "an adapter", "Correct the path.")
    loaded: T2IAdapter = adapters.wrap_adapter(file, file.name, None, bgr=None, dtype=None)
    return loaded


@torch.no_grad()
def _examples(
    options: Options,
    listing: Listing,
    checkpoint: Checkpoint,
    adapter: T2IAdapter,
    folder: Path,
    processes: Processes,
) -> CachedSet:
    how = recipe(options, checkpoint, adapter)
    share = -(-len(listing.samples) // processes.count)
    with tqdm(total=share, desc="Preparing", unit="sample", disable=not processes.first) as bar:
        files = prepare(listing, how, folder / CACHE, processes, bar.update)
    left_out = _report(folder, listing, files) if processes.first else 0
    data = CachedSet(files, how)
    sizes = ", ".join(f"{count} of {width}×{height}" for (height, width), count in data.sizes.items())
    _tell(processes, f"Sizes: {sizes}.")
    own, preset = sum(file.own for file in files), preset_named(options.annotator, adapter)
    drawn = f"{len(data) - own} drawn{f' by {preset.condition}' if preset else ''}"
    _tell(processes, f"{len(data)} examples: {own} with their own maps, {drawn}, {left_out} left out")
    return data


def _report(folder: Path, listing: Listing, files: list[File]) -> int:
    """Say what was left out, write all of it into a file, and return how much it is."""
    skipped: list[Skipped] = [*listing.skipped, *(one for file in files for one in file.skipped)]
    text = "".join(f"{one}\n" for one in skipped).encode()
    write_whole(folder / SKIPPED, lambda file: file.write(text))
    if skipped:
        logger.warning("%d left out; %s names them:", len(skipped), folder / SKIPPED)
        for one in skipped[:NAMED]:
            logger.warning("  %s", one)
    return len(skipped)


def _fit(trainer: Trainer, adapter: T2IAdapter, options: Options, folder: Path) -> None:
    processes = trainer.processes

    def save() -> None:
        if processes.first:
            save_progress(trainer, adapter, options.name, folder)

    with (
        Stopping() as stopping,
        tqdm(total=trainer.settings.steps, initial=trainer.step, desc="Training", disable=not processes.first) as bar,
    ):

        def on_step(step: int, loss: float) -> None:
            recent = trainer.losses[-SHOWN:]
            bar.set_postfix(loss=f"{sum(recent) / len(recent):.4f}", refresh=False)
            bar.update()
            # All of them or none: a process that went on alone would wait for the others for ever.
            if processes.any(stopping.asked, trainer.device) and step < trainer.settings.steps:
                save()
                raise StoppedError(f"stopped after step {step}; {folder} holds a checkpoint and the adapter so far")

        fit(trainer, save, options.save_every, on_step)


def _tell(processes: Processes, text: str) -> None:
    if processes.first:
        logger.info("%s", text)
