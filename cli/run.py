"""A run of the train command: examples, training, checkpoints, and the finished adapter."""

from __future__ import annotations

import logging
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
from ..nodes.training.run import FACTORY, RUNS, started, training_sites
from ..training.cache import CacheFile, own_samples, prepare_cache
from ..training.cached_dataset import CachedSet
from ..training.checkpoints import write_whole
from ..training.distributed import Processes
from ..training.errors import TrainingError
from ..training.loop import AfterStep, adapter_fingerprint
from ..training.recipe import Recipe
from ..training.run_names import check_run_name
from ..training.samples import Listing, Skipped
from ..training.selection import check_mirrored
from ..training.session import RunPlan, TrainingSession
from ..training.validation import HELD_OUT_LOSS
from .annotate import preset_named
from .data_options import list_samples
from .encode import LoadedCheckpoint, read_checkpoint, recipe
from .launcher import is_launched
from .options import Options
from .stopping import Stopping
from .validation import check_validation, picture_cases, progress_shown

_log = logging.getLogger(__name__)
CACHE, HELD_OUT_CACHE = "cache", "cache/held_out"
SKIPPED = "skipped.txt"
# Number of skipped samples named on the screen; the file names all of them.
NAMED = 10
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
    settings = options.settings(processes.count)
    check_run_name(options.name)
    check_validation(options)
    folder = (options.output or host.output_folder() / RUNS).expanduser().absolute() / options.name
    plan = RunPlan(
        folder=folder,
        settings=settings,
        save_every=options.save_every,
        record="options.json",
        choices=asdict(options),
    )
    session = TrainingSession(plan, FACTORY, processes)
    listings = list_samples(options.data, options, options.held_out_share, partial(tell_once, processes))
    with session:
        _run(session, options, listings)


def _run(session: TrainingSession, options: Options, listings: tuple[Listing, Listing]) -> None:
    """Prepare the examples, train in an open session, and write the finished adapter."""
    processes, folder = session.processes, session.plan.folder
    checkpoint = read_checkpoint(options.checkpoint)
    adapter = starting_adapter(options, checkpoint.model)
    session.check(adapter=adapter_fingerprint(adapter.network))
    check_mirrored(listings[0], adapter.info.condition)
    sites = training_sites(checkpoint.model, adapter)
    if layout_named(options.format).folder:
        diffusers_config(adapter.network.config)
    with torch.no_grad():
        cases = picture_cases(options, checkpoint)
        data, held_out = _examples(session, options, listings, checkpoint, adapter)
    with started(session, checkpoint.model, adapter, data, sites) as loaded:
        if session.trainer.step:
            tell_once(processes, f"Resuming after step {session.trainer.step}.")
        with progress_shown(session, options, loaded, checkpoint, (held_out, cases)) as validation:
            _train(session, validation)
    if processes.first:
        path = write_adapter(session.result(), folder / options.name, options.format, FILE_DTYPES[options.dtype])
        tell_once(processes, f"Finished: {path}")


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


def _examples(
    session: TrainingSession,
    options: Options,
    listings: tuple[Listing, Listing],
    checkpoint: LoadedCheckpoint,
    adapter: T2IAdapter,
) -> tuple[CachedSet, CachedSet | None]:
    """Prepare the examples to train on, and the held-out ones if there are any."""
    folder, processes = session.plan.folder, session.processes
    how = recipe(options, checkpoint, adapter)
    own, other = listings
    files = _prepared(session, own, how, folder / CACHE)
    held_out = _prepared(session, other, how, folder / HELD_OUT_CACHE) if other.samples else []
    left_out = _report(folder, own, [*files, *held_out]) if processes.first else 0
    data = CachedSet(files, how)
    sizes = ", ".join(f"{count} of {width}×{height}" for (height, width), count in data.sizes.items())
    tell_once(processes, f"Sizes: {sizes}.")
    maps, preset = sum(file.own for file in files), preset_named(options.annotator, adapter)
    drawn = f"{len(data) - maps} drawn{f' by {preset.condition}' if preset else ''}"
    tell_once(processes, f"{len(data)} examples: {maps} with their own maps, {drawn}, {left_out} left out")
    if not held_out:
        return data, None
    measured = CachedSet(held_out, how)
    tell_once(processes, f"{len(measured)} more examples are held out.")
    return data, measured


def _prepared(session: TrainingSession, listing: Listing, how: Recipe, cache: Path) -> list[CacheFile]:
    """Prepare examples with a progress bar."""
    processes = session.processes
    # The run's checkpoint knows the examples that it trains on.
    accept = _accepted if cache.name != CACHE else lambda fingerprint: session.check(data=fingerprint)
    total = own_samples(listing, processes)
    with tqdm(total=total, desc="Preparing", unit="sample", disable=not processes.first) as bar:
        return prepare_cache(listing, how, cache, processes, bar.update, accept)


def _accepted(_fingerprint: str) -> None:
    """Accept any held-out examples: they change nothing of the run."""


def _report(folder: Path, listing: Listing, files: list[CacheFile]) -> int:
    """Log and write to a file which samples are skipped, and return their number."""
    skipped: list[Skipped] = [*listing.skipped, *(one for file in files for one in file.skipped)]
    text = "".join(f"{one}\n" for one in skipped).encode()
    write_whole(folder / SKIPPED, lambda file: file.write(text))
    if skipped:
        _log.warning("%d left out; %s names them:", len(skipped), folder / SKIPPED)
        for one in skipped[:NAMED]:
            _log.warning("  %s", one)
    return len(skipped)


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


def tell_once(processes: Processes, text: str) -> None:
    """Log a line for the user once, not in each process; an empty one is left out."""
    if processes.first and text:
        _log.info("%s", text)
