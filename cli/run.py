"""A run of the train command: examples, training, checkpoints, and the finished adapter."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ..adapter_models.adapter import T2IAdapter
from ..adapter_models.conditions import CONDITIONS
from ..adapter_models.info import TRAINING_SETTINGS
from ..adapter_models.saving import FILE_DTYPES, diffusers_config, layout_named
from ..nodes import host
from ..nodes.loading import adapters
from ..nodes.train import CreateT2IAdapter
from ..nodes.training.adapter_files import OTHER, write_adapter
from ..nodes.training.frozen_denoiser import known_denoiser
from ..nodes.training.run import FACTORY, RUNS, started, training_sites
from ..training.disk import check_space, needed_space
from ..training.distributed import Processes
from ..training.epochs import steps_of_epochs, steps_per_epoch
from ..training.errors import TrainingError
from ..training.loop import AfterStep, adapter_fingerprint
from ..training.plans import RunPlan
from ..training.run_names import check_run_name
from ..training.samples import Listing
from ..training.selection import check_mirrored
from ..training.session import TrainingSession
from ..training.validation import HELD_OUT_LOSS
from .data_options import list_samples
from .encode import read_checkpoint
from .launcher import is_launched
from .messages import tell_once
from .models import in_one_file, read_parts
from .options import Options
from .preparation import new_data, prepare_examples
from .settings_file import WRITTEN, repeating
from .stopping import Stopping
from .validation import check_validation, picture_cases, progress_shown

# Number of steps whose mean loss is shown.
SHOWN = 50


class StoppedError(Exception):
    """The user has stopped the run; it can be resumed."""


def train_run(options: Options, processes: Processes) -> None:
    """Train an adapter, or resume a run.

    Args:
        options: The user's choices.
        processes: The processes that train together.

    Raises:
        AdapterError: An input does not fit, or training diverged; or a subclass, or an AnnotatorError.
        StoppedError: The user has stopped the run, and everything is saved.
    """
    check_run_name(options.name)
    check_validation(options)
    if options.epochs is None:
        options.settings(processes.count).check()  # before the listing, which may take a while
    listings = list_samples(options.data, options, options.held_out_share, partial(tell_once, processes))
    session = TrainingSession(_plan(options, processes, listings[0]), FACTORY, processes)
    with session:
        _run(session, options, listings)


def _plan(options: Options, processes: Processes, listing: Listing) -> RunPlan:
    folder = (options.output or host.output_folder() / RUNS).expanduser().absolute() / options.name
    return RunPlan(
        folder=folder,
        settings=options.settings(processes.count, len(listing.samples)),
        save_every=options.save_every,
        keep_checkpoints=options.keep_checkpoints or 0,
        estimated=options.epochs is not None,
        record="options.json",
        choices=asdict(options),
        notes={WRITTEN: repeating(options)},
        allow_new_data=options.allow_new_data,
    )


def _run(session: TrainingSession, options: Options, listings: tuple[Listing, Listing]) -> None:
    """Prepare the examples, train in an open session, and write the finished adapter."""
    processes, folder = session.processes, session.plan.folder
    checkpoint = read_checkpoint(options.checkpoint or "") if in_one_file(options) else read_parts(options)
    adapter = starting_adapter(options, checkpoint.model)
    session.check(adapter=adapter_fingerprint(adapter.network), **known_denoiser(checkpoint.model))
    check_mirrored(listings[0], adapter.info.condition)
    sites = training_sites(checkpoint.model, adapter)
    if layout_named(options.format).folder:
        diffusers_config(adapter.network.config)
    if processes.first:
        tell_once(processes, check_space(folder, needed_space(session.plan, session.made(), adapter.network)))
    with torch.no_grad():
        cases = picture_cases(options, checkpoint)
        data, held_out = prepare_examples(session, options, listings, checkpoint, adapter)
    _count_epochs(session, options, len(data))
    with started(session, checkpoint.model, adapter, data, sites) as loaded:
        if session.trainer.step:
            tell_once(processes, f"Resuming after step {session.trainer.step}.")
            tell_once(processes, new_data(session, len(data)))
        with progress_shown(session, options, loaded, checkpoint, (held_out, cases)) as validation:
            _train(session, validation)
    if processes.first:
        path = write_adapter(session.result(), folder / options.name, options.format, FILE_DTYPES[options.dtype])
        tell_once(processes, f"Finished: {path}")


def _count_epochs(session: TrainingSession, options: Options, examples: int) -> None:
    """Set the number of steps that the user's epochs make, and tell how long an epoch is."""
    if options.epochs is not None:
        session.set_steps(steps_of_epochs(options.epochs, examples, session.plan.settings))
    settings = session.plan.settings
    epoch = steps_per_epoch(examples, settings)
    line = f"1 epoch = {epoch:g} steps; {settings.steps} steps = {settings.steps / epoch:.3g} epochs."
    tell_once(session.processes, line)


def starting_adapter(options: Options, model: Any) -> T2IAdapter:
    """Return the adapter that training starts from: one from a file, or a new one, perhaps with another's weights.

    Args:
        options: The user's choices.
        model: The MODEL.

    Raises:
        AdapterError: The file does not exist, is not an adapter, or does not fit; or a subclass.
    """
    if options.adapter is None:
        start = None if options.start_from is None else _load("start_from", options.start_from)
        made: T2IAdapter = CreateT2IAdapter.execute(
            model, options.size, str(options.image_channels), options.condition or OTHER, options.seed, start
        )[0]
        return made
    if options.start_from is not None:
        raise TrainingError(
            "start_from",
            "two adapters, of --adapter and --start-from",
            "one",
            "Omit --start-from to train the adapter further; omit --adapter to make a new one.",
            says="--adapter and --start-from exclude each other.",
        )
    loaded = _load("adapter", options.adapter)
    condition = next((row for row in CONDITIONS if row.name == options.condition), None)
    return (
        loaded if condition is None else replace(loaded, info=loaded.info.for_condition(condition, TRAINING_SETTINGS))
    )


def _load(option: str, file: Path) -> T2IAdapter:
    if not file.exists():
        raise TrainingError(
            option,
            f"{file}, which is no file",
            "an adapter",
            "Correct the path.",
            says=f"The adapter file {file} does not exist.",
        )
    loaded: T2IAdapter = adapters.wrap_adapter(file, file.name, None, bgr=None, dtype=None)
    return loaded


def _train(session: TrainingSession, validation: Sequence[AfterStep]) -> None:
    """Run a session with a progress bar, until it ends or a signal stops it."""
    trainer, processes, folder = session.trainer, session.processes, session.plan.folder
    steps, numbers = trainer.settings.steps, dict[str, str]()
    with (
        Stopping(relayed=is_launched(os.environ)) as stopping,
        tqdm(total=steps, initial=trainer.step, desc="Training", disable=not processes.first) as bar,
    ):

        def on_step(step: int, loss: float) -> None:
            recent = trainer.losses[-SHOWN:]
            numbers["loss"] = f"{sum(recent) / len(recent):.4f}"
            if HELD_OUT_LOSS in session.values:
                numbers["held_out"] = f"{session.values[HELD_OUT_LOSS]:.4f}"
            bar.set_postfix(numbers, refresh=False)
            bar.update()
            # All processes stop together: one that continued alone would wait for the others forever.
            if processes.any(stopping.asked, trainer.device) and step < steps:
                session.save()
                # A launcher ends all processes as soon as one of them ends.
                processes.wait()
                raise StoppedError(f"stopped after step {step}; {folder} holds a checkpoint and the adapter so far")

        session.run(*validation, on_step)
