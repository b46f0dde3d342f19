"""The trainer: it fits an adapter to a frozen denoiser; a resumed run equals an uninterrupted one bit for bit."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ..adapter_models.networks import Adapter, build_adapter
from ..common.fingerprints import joint_fingerprint
from .distributed import ALONE, Processes
from .errors import TrainingError
from .in_memory_dataset import Examples
from .loss import Denoiser, adapter_loss
from .memory_savers import lean_convolutions, out_of_place, recomputing
from .optimizers import make_optimizer, optimizer_named, remembered
from .schedules import LearningRate
from .settings import Settings
from .states import SCALE, STATE_VERSION, TRACKER, check_same_run, check_weights

# Below this scale no finite gradient overflows fp16, so skipped steps have another cause.
SMALLEST_SCALE = 2.0**-10
# The moving average follows faster during the first steps, so that short runs move away from their start.
EMA_BEGINS = 10
# What happens after a step: called in every process with (steps made, loss of the step), after a checkpoint that is due
# at this step. It reads the rest from the trainer, whose state is consistent, and may raise to stop the run. If one
# process works longer than the others, all of them call ``processes.wait()`` afterwards.
AfterStep = Callable[[int, float], None]


class Trainer:
    """Train one adapter.

    Args:
        adapter: The adapter to start from; copied in fp32, not changed.
        data: The examples.
        denoiser: The frozen diffusion model.
        settings: Training settings; the batch size is for all processes together.
        device: Device that the adapter computes on; batches are moved there.
        processes: The processes that train the adapter together.

    Raises:
        TrainingError: A setting is out of range, or prompt dropout lacks the empty prompt.
    """

    def __init__(
        self,
        adapter: Adapter,
        data: Examples,
        denoiser: Denoiser,
        settings: Settings,
        device: torch.device,
        processes: Processes = ALONE,
    ) -> None:
        _check(settings, data, processes)
        self.data, self.denoiser, self.settings, self.device = data, denoiser, settings, device
        self.processes = processes
        self.draw = replace(settings.draw, process=processes.index, processes=processes.count)
        self.network = build_adapter(adapter.config, device="meta")
        weights = _weights(adapter)
        self.network.load_state_dict(weights, assign=True)
        self.network.to(device).train().requires_grad_(True)
        self.parameters = list(self.network.parameters())
        self.average = [parameter.detach().clone() for parameter in self.parameters] if settings.ema else []
        self._optimizer_kind = optimizer_named(settings.optimizer)
        self._begin_optimizer()
        scaled = settings.computes_in.scaled or denoiser.half
        self.scaler = torch.amp.GradScaler(device.type, enabled=scaled)
        self.losses: list[float] = []
        # The steps after which the run continued with other data, and the digest of the data before.
        self.data_changes: list[dict[str, Any]] = []
        self.origin = {
            "adapter": adapter_fingerprint(adapter),
            "data": data.fingerprint(),
            "denoiser": denoiser.identity,
            **settings.lasting,
        }

    def _begin_optimizer(self) -> None:
        settings = self.settings
        self.optimiser = make_optimizer(
            self._optimizer_kind, self.parameters, settings.learning_rate, settings.weight_decay
        )
        self._rate = LearningRate(self.optimiser, settings.lr_scheduler, settings.lr_warmup_steps, settings.steps)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the last step, or of the first one before it."""
        return float(self.optimiser.param_groups[0]["lr"])

    @property
    def step(self) -> int:
        """Number of steps made."""
        return len(self.losses)

    def fingerprint(self) -> str:
        """Return a digest of the weights, and of their moving average if there is one."""
        return joint_fingerprint([*self.parameters, *self.average])

    def advance(self) -> float:
        """Make one optimiser step.

        Returns:
            The mean loss of its batches.

        Raises:
            TrainingError: The loss or a gradient is NaN or infinite. The weights are those before the step.
            LostProcessError: Another process has ended, or does not answer in time.
        """
        self._rate.begin(self.step)
        count = self.settings.gradient_accumulation
        total = torch.zeros((), device=self.device)
        gradients: list[Tensor] = []
        for part in range(count):
            batch = self.data.batch(self.draw, self.step * count + part).to(self.device)
            with self._less_memory():
                autocast = self.settings.computes_in.autocast
                loss = adapter_loss(self.network, self.denoiser, batch, autocast) / count
                # Compute gradients for the adapter alone, even if the denoiser's weights require them.
                fresh = torch.autograd.grad(self.scaler.scale(loss), self.parameters)
            gradients = [a.add_(b) for a, b in zip(gradients, fresh, strict=True)] if gradients else list(fresh)
            total += loss.detach()
        *gradients, total = self.processes.mean([*gradients, total])
        mean = float(total)
        if not math.isfinite(mean):
            raise self._diverged(f"a loss of {mean}")
        self._apply(gradients)
        self.losses.append(mean)
        return mean

    @contextlib.contextmanager
    def _less_memory(self) -> Iterator[None]:
        again = [*self.denoiser.blocks, *self.network.body] if self.settings.gradient_checkpointing else []
        kept = self.denoiser.blocks if self.denoiser.overwrites else ()
        with out_of_place(kept), lean_convolutions(self.denoiser.blocks), recomputing(again):
            yield

    def _apply(self, gradients: list[Tensor]) -> None:
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.scaler.unscale_(self.optimiser)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.settings.clip)
        # The scaler skips such a step and lowers the scale.
        if not self.scaler.is_enabled() and not torch.isfinite(norm):
            raise self._diverged("a NaN or infinite gradient")
        self.scaler.step(self.optimiser)
        self.scaler.update()
        if self.scaler.is_enabled() and self.scaler.get_scale() < SMALLEST_SCALE:
            raise self._diverged("NaN or infinite gradients at every scale of the loss")
        self.optimiser.zero_grad(set_to_none=True)
        if self.average:
            decay = min(self.settings.ema, (self.step + 1) / (self.step + EMA_BEGINS))
            get_ema_multi_avg_fn(decay)(self.average, self.parameters, None)

    def _diverged(self, what: str) -> TrainingError:
        return TrainingError(
            f"step {self.step + 1}",
            what,
            "a finite one",
            "Lower learning_rate, or set precision to fp32. The last checkpoint is from before this step.",
            says=f"Training diverged at step {self.step + 1}.",
        )

    def weights(self) -> dict[str, Tensor]:
        """Return the current result, the moving average if there is one: copies in fp32, on the CPU."""
        return {name: tensor.to("cpu", copy=True) for name, tensor in self._result().items()}

    @torch.no_grad()
    def features(self, images: Tensor) -> list[Tensor]:
        """Compute features with the current result, in fp32; see :meth:`.networks.FullAdapter.forward`."""
        features: list[Tensor] = torch.func.functional_call(self.network, self._result(), (images,))
        return features

    def _result(self) -> dict[str, Tensor]:
        tensors = self.average or [parameter.detach() for parameter in self.parameters]
        names = [name for name, _ in self.network.named_parameters()]
        return dict(zip(names, tensors, strict=True))

    def state_dict(self) -> dict[str, Any]:
        """Return the state to resume from. It has no random generator: batches follow from the seed and the step."""
        return {
            "version": STATE_VERSION,
            "origin": self.origin,
            "network": self.network.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "losses": self.losses,
            "data_changes": self.data_changes,
        }

    def load_state_dict(self, state: Mapping[str, Any], *, new_data: bool = False) -> None:
        """Resume from the state of a run.

        Args:
            state: From :meth:`state_dict` of a run with the same adapter, examples and settings; ``steps`` may differ.
            new_data: Accept a run that began with other samples, and note it.

        Raises:
            CheckpointError: The state is damaged or belongs to another run. The trainer is unchanged.
        """
        check_same_run(state, self.origin, self.settings.steps, new_data=new_data)
        own = self.state_dict()
        check_weights(state, own, self.parameters, self.settings.optimizer)
        self.network.load_state_dict(state["network"])
        # Take only its memory; the current settings, equal to the run's, determine the rest.
        self._begin_optimizer()
        groups = self.optimiser.state_dict()["param_groups"]
        groups[0] |= remembered(state["optimiser"], self._optimizer_kind)
        self.optimiser.load_state_dict({"state": state["optimiser"]["state"], "param_groups": groups})
        if own["scaler"]:
            self.scaler.load_state_dict({**own["scaler"], **{name: state["scaler"][name] for name in (SCALE, TRACKER)}})
        for mine, theirs in zip(self.average, state["average"], strict=True):
            mine.copy_(theirs)
        self.losses = list(state["losses"])
        self.data_changes = list(state.get("data_changes", ()))
        if state["origin"].get("data", self.origin["data"]) != self.origin["data"]:
            self.data_changes.append({"step": self.step, "data_before": state["origin"]["data"]})


def adapter_fingerprint(adapter: Adapter) -> str:
    """Return a digest of an adapter's weights in fp32, as a run's state records it."""
    return joint_fingerprint(_weights(adapter).values())


def _weights(adapter: Adapter) -> dict[str, Tensor]:
    return {name: tensor.detach().to(torch.float32, copy=True) for name, tensor in adapter.state_dict().items()}


def _check(settings: Settings, data: Examples, processes: Processes) -> None:
    settings.check()
    if settings.batch_size % processes.count:
        raise TrainingError(
            "batch_size",
            f"{settings.batch_size} for {processes.count} processes",
            "a multiple of their number",
            "Give each process the same number of examples.",
            says="The batch can't be divided equally between the processes.",
        )
    if settings.prompt_dropout > 0 and data.empty is None:
        raise TrainingError(
            "prompt_dropout",
            f"{settings.prompt_dropout} and no empty prompt",
            "an empty prompt that replaces the dropped ones",
            "Give an encoded prompt without text as empty, or set prompt_dropout to 0.",
            says="Prompt dropout needs an empty prompt.",
        )


def fit(
    trainer: Trainer,
    save: Callable[[], None],
    save_every: int = 0,
    on_step: AfterStep = lambda step, loss: None,
) -> None:
    """Train from the trainer's current step to the settings' last one.

    Args:
        trainer: The trainer.
        save: Writes a checkpoint; also called after the last step.
        save_every: Steps between checkpoints; 0 saves only at the end.
        on_step: Called after each step.
    """
    while trainer.step < trainer.settings.steps:
        loss = trainer.advance()
        if trainer.step == trainer.settings.steps or (save_every and trainer.step % save_every == 0):
            save()
        on_step(trainer.step, loss)
