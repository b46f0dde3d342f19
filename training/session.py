"""One training run, from its folder to the trained adapter: the object that every front drives."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..adapter_models.adapter import T2IAdapter
from .checkpoints import STATE_FILE, load_state, peek_state, save_state, write_text
from .disk import remove_older
from .distributed import ALONE, Processes
from .errors import LostProcessError, TrainingError
from .in_memory_dataset import Examples
from .locks import RunLock
from .loop import AfterStep, Trainer, fit
from .loss import Denoiser
from .optimizers import optimizer_class, optimizer_named
from .plans import RunPlan
from .prefetch import prefetching
from .run_log import RunLog, StepClock, StepLog
from .runs import begin_run
from .states import check_parts, check_same_run


@dataclass(frozen=True, kw_only=True)
class AdapterFactory:
    """How trained weights become an adapter, and how an adapter becomes a file.

    Attributes:
        build: (adapter before training, trained weights, name, training record as JSON) -> trained adapter.
        write: (adapter, path without suffix) -> the file in the original layout, in fp32.
    """

    build: Callable[[T2IAdapter, Mapping[str, Tensor], str, str], T2IAdapter]
    write: Callable[[T2IAdapter, Path], object]


class TrainingSession:
    """A training run: enter it to lock its folder, ``start`` or resume it, ``run`` it, and take the ``result``.

    Args:
        plan: What the run trains with, and what it writes.
        factory: Builds and writes adapters.
        processes: The processes that train together; the first one writes the files.

    Raises:
        TrainingError: A setting is out of range, or the optimizer's package is missing.
    """

    def __init__(self, plan: RunPlan, factory: AdapterFactory, processes: Processes = ALONE) -> None:
        plan.settings.check()
        optimizer_class(optimizer_named(plan.settings.optimizer))
        self.plan, self.factory, self.processes = plan, factory, processes
        self._lock = RunLock(plan.folder)
        self._trainer: Trainer | None = None
        self._adapter: T2IAdapter | None = None
        # The step of the last checkpoint; 0 if there is none.
        self._saved = 0
        # Called with the values of each step, in the first process alone.
        self.logs: list[StepLog] = []
        # The values of the step just made; functions called after a step may add to them.
        self.values: dict[str, Any] = {}

    @property
    def trainer(self) -> Trainer:
        """The trainer of a started session."""
        if self._trainer is None:
            raise TrainingError(
                "session", "no trainer", "a started session", "Call start() first.", says="The session has not started."
            )
        return self._trainer

    def __enter__(self) -> TrainingSession:
        """Lock and prepare the run's folder, and compare the settings with its checkpoint's, before any work.

        Raises:
            CheckpointError: Another process trains this run, the folder can't be written to, or its checkpoint is
                damaged or belongs to another run.
            TrainingError: The processes were started with different settings, or see different checkpoints.
        """
        with contextlib.ExitStack() as after_an_error:
            if self.processes.first:
                self._lock.acquire()
                after_an_error.callback(self._lock.release)
                begin_run(self.plan.folder, self.plan.settings.steps)
            lasting = self.plan.settings.lasting
            if self.plan.estimated:
                lasting.pop("steps", None)
            # Before the settings are compared with the checkpoint's, so that every process says the same.
            self.processes.agree({"step": self.made(), "steps": self.plan.settings.steps, **lasting})
            self.check(**lasting)
            after_an_error.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def made(self) -> int:
        """Return the number of steps that the folder's checkpoint has made; 0 without a checkpoint."""
        state = peek_state(self.plan.folder)
        if state is None:
            return 0
        check_parts(state)
        return len(state["losses"])

    def set_steps(self, steps: int) -> None:
        """Set the run's number of steps, once its data is known; before :meth:`start`."""
        settings = replace(self.plan.settings, steps=steps)
        settings.check()
        self.plan = replace(self.plan, settings=settings, estimated=False)

    def check(self, **facts: object) -> None:
        """Compare facts about the run with those that its checkpoint began with.

        Args:
            facts: Values by their names in a state's origin.

        Raises:
            CheckpointError: The run in this folder began with other values, or its checkpoint is damaged.
        """
        state = peek_state(self.plan.folder)
        if state is not None:
            check_same_run(state, facts, self.plan.settings.steps, new_data=self.plan.allow_new_data)

    def start(self, adapter: T2IAdapter, data: Examples, denoiser: Denoiser, device: torch.device) -> None:
        """Create the trainer, resume from the folder's checkpoint if there is one, and write the user's choices.

        Args:
            adapter: The adapter to start from; not changed.
            data: The examples.
            denoiser: The frozen diffusion model.
            device: Device that the adapter computes on.

        Raises:
            CheckpointError: The checkpoint belongs to another run, or a file can't be written.
            TrainingError: The settings don't fit the data or the number of processes, or the processes start from
                different weights or data.
        """
        state = load_state(self.plan.folder)
        trainer = Trainer(adapter.network, data, denoiser, self.plan.settings, device, self.processes)
        if state is not None:
            trainer.load_state_dict(state, new_data=self.plan.allow_new_data)
        self.processes.agree({"step": trainer.step, "weights": trainer.fingerprint(), **trainer.origin})
        self._trainer, self._adapter, self._saved = trainer, adapter, trainer.step
        if self.processes.first:
            choices = json.dumps(dict(self.plan.choices), indent=2, default=str)
            for name, text in {self.plan.record: choices, **self.plan.notes}.items():
                write_text(self.plan.folder / name, text)
            self.logs.append(RunLog(self.plan.folder, trainer.losses))

    def run(self, *after_step: AfterStep) -> None:
        """Train from the current step to the last, with a checkpoint at the plan's intervals and at the end.

        Every step is logged, also the one after which the run is stopped.

        Args:
            after_step: Called after each step, in this order; one that may stop the run comes last.

        Raises:
            TrainingError: Training diverged.
            CheckpointError: A checkpoint or the log can't be written.
            LostProcessError: Another process has ended, or does not answer in time; names the last checkpoint.
        """
        clock = StepClock()

        def save() -> None:
            with clock.paused():
                self.save()

        def on_step(step: int, loss: float) -> None:
            known = {"step": step, "loss": loss, "learning_rate": self.trainer.learning_rate}
            self.values = {**known, "seconds": round(clock.seconds(), 4)}
            try:
                for call in after_step:
                    call(step, loss)
            finally:
                for log in self.logs:
                    log(self.values)
            clock.start()

        try:
            with prefetching(self.trainer):
                fit(self.trainer, save, self.plan.save_every, on_step)
        except LostProcessError as lost:
            last = f"{self.plan.folder / STATE_FILE}, made after step {self._saved}" if self._saved else "none yet"
            fix = f"{lost.fix} The last checkpoint: {last}. Start the run again to resume from it."
            raise LostProcessError(lost.where, lost.got, lost.expected, fix, says=lost.says) from lost

    def save(self) -> None:
        """Write a checkpoint, and the adapter trained so far beside it; then remove adapters that are not kept."""
        self._saved = self.trainer.step
        if self.processes.first:
            self.save_state()
            path = self.plan.folder / f"{self.plan.folder.name}_step_{self.trainer.step:08}"
            self.factory.write(self.result(), path)
            remove_older(self.plan.folder, path, self.plan.keep_checkpoints)

    def save_state(self) -> None:
        """Write a checkpoint alone."""
        save_state(self.plan.folder, self.trainer.state_dict())

    def result(self) -> T2IAdapter:
        """Return the adapter trained so far, with the settings and the last loss in its metadata."""
        trainer, adapter = self.trainer, self._adapter
        if adapter is None or not trainer.losses:
            raise TrainingError(
                "session", "no step", "at least one step", "Call run() first.", says="The session has not trained yet."
            )
        facts = {**trainer.settings.record, "steps": trainer.step, "loss": trainer.losses[-1]}
        if trainer.data_changes:
            facts["data_changes"] = trainer.data_changes
        record = json.dumps(facts)
        return self.factory.build(adapter, trainer.weights(), self.plan.folder.name, record)
