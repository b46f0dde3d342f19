"""The training loop of all parts: resumable, counted in steps, and on a GPU replayed as one CUDA graph per step."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import distributed, nn

from .muon import Muon

Batch = tuple[torch.Tensor, ...]
Draw = Callable[[int, torch.Generator], Batch]
Loss = Callable[..., torch.Tensor]

EAGER_STEPS = 3  # eager steps before a graph is captured, in which libraries choose their kernels
LOG_EVERY = 500
SAVE_EVERY = 500
WORSE = 1.8  # a mean loss above this many times the best one means divergence
ADAM_EPS = 1e-7  # above the rounding noise of gradients that are zero by construction (see stages.fit_denoiser)


@dataclass(frozen=True)
class Plan:
    """How one part is trained: steps, batch size, peak learning rate, warm-up steps, EMA decay, seed, optimiser."""

    steps: int
    batch: int
    rate: float
    warmup: int = 200
    decay: float = 0.999
    seed: int = 1
    muon: bool = False

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step: linear warm-up, then a cosine down to 1 %."""
        rise = min(1.0, (step + 1) / max(1, min(self.warmup, self.steps // 5)))
        fall = 0.5 * (1.0 + math.cos(math.pi * min(1.0, step / self.steps)))
        return self.rate * rise * (0.01 + 0.99 * fall)


class Fit:
    """A module in training: its optimiser, moving average, step count, and their file.

    Args:
        module: Module to train, on its device.
        plan: Steps and rates.
        draw: Makes a step's batch from its number and a generator seeded for it; the shapes are constant.
            When several processes train together, each step has one number per process.
        loss: Batch -> scalar; may use only the batch and the module.
        file: File of the state between runs.
    """

    def __init__(self, module: nn.Module, plan: Plan, draw: Draw, loss: Loss, file: Path) -> None:
        self.module, self.plan, self.draw, self.loss, self.file = module, plan, draw, loss, file
        self.params = [param for param in module.parameters() if param.requires_grad]
        self.device = self.params[0].device
        self.average = [param.detach().clone() for param in self.params]
        self.on_gpu = self.device.type == "cuda"
        together = distributed.is_available() and distributed.is_initialized()
        self.rank, self.workers = (distributed.get_rank(), distributed.get_world_size()) if together else (0, 1)
        # A tensor, since a captured graph can't see a changed Python number.
        rate = torch.tensor(plan.rate, device=self.device) if self.on_gpu else plan.rate
        self.optimiser: torch.optim.Optimizer = (
            Muon(self.params, rate, eps=ADAM_EPS)
            if plan.muon
            else torch.optim.AdamW(
                self.params, lr=rate, eps=ADAM_EPS, weight_decay=0.01, capturable=self.on_gpu, fused=self.on_gpu
            )
        )
        self.step = 0
        self._best = math.inf
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: Batch = ()
        self._loss = torch.zeros((), device=self.device)
        if file.exists():
            self._restore()

    def _restore(self) -> None:
        state = torch.load(self.file, map_location=self.device, weights_only=True)
        self.module.load_state_dict(state["module"])
        self.optimiser.load_state_dict(state["optimiser"])
        for mine, theirs in zip(self.average, state["average"], strict=True):
            mine.copy_(theirs)
        self.step = state["step"]

    def save(self) -> None:
        """Write the state, in the first process; the old file is replaced only when the new one is complete."""
        if self.rank:
            return
        state = {
            "step": self.step,
            "module": self.module.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
        }
        fresh = self.file.with_suffix(".tmp")
        torch.save(state, fresh)
        fresh.replace(self.file)

    def _advance(self, batch: Batch) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.loss(*batch)
        loss.backward()
        if self.workers > 1:
            self._share_gradients()
        nn.utils.clip_grad_norm_(self.params, 1.0)
        self.optimiser.step()
        self._loss.copy_(loss.detach())

    def _share_gradients(self) -> None:
        """Give every process the mean of all gradients."""
        grads = [param.grad for param in self.params if param.grad is not None]
        flat = torch.cat([grad.flatten() for grad in grads])
        distributed.all_reduce(flat)
        for grad, mean in zip(grads, flat.div_(self.workers).split([grad.numel() for grad in grads]), strict=True):
            grad.copy_(mean.view_as(grad))

    def _take(self, batch: Batch, eager: bool) -> None:
        """Make one optimiser step, eagerly or by replaying the captured graph with the new batch."""
        if eager or not self.on_gpu:
            self._advance(batch)
            return
        if self._graph is None:
            self._inputs = tuple(part.clone() for part in batch)
            self._graph = torch.cuda.CUDAGraph()
            self.optimiser.zero_grad(set_to_none=True)
            with torch.cuda.graph(self._graph):
                self._advance(self._inputs)
        for mine, fresh in zip(self._inputs, batch, strict=True):
            mine.copy_(fresh)
        self._graph.replay()

    def run(self, stop_at: int | None = None) -> bool:
        """Train to the plan's end, or to step `stop_at`, and save.

        Returns:
            True if the plan's end is reached.

        Raises:
            FloatingPointError: The loss is NaN or far above its best value: training has diverged.
        """
        last = self.plan.steps if stop_at is None else min(stop_at, self.plan.steps)
        # Graphs are captured on a side stream, so the eager steps before must run on one too.
        stream = torch.cuda.stream(torch.cuda.Stream()) if self.on_gpu else contextlib.nullcontext()
        generator = torch.Generator(self.device)
        total, begun, first = torch.zeros_like(self._loss), time.perf_counter(), self.step
        with stream:
            for step in range(self.step, last):
                number = step * self.workers + self.rank
                generator.manual_seed((self.plan.seed << 32) + number)
                self._set_rate(self.plan.rate_at(step))
                self._take(self.draw(number, generator), eager=step - first < EAGER_STEPS)
                decay = min(self.plan.decay, (step + 1) / (step + 10))
                torch._foreach_lerp_(self.average, self.params, 1.0 - decay)
                total += self._loss
                self.step = step + 1
                if self.step % LOG_EVERY == 0 or self.step == last:
                    self._report(total, begun, self.step - first)
                    total.zero_()
                if self.step % SAVE_EVERY == 0:
                    self.save()
        if self.step > first:
            self.save()
        return self.step >= self.plan.steps

    def _set_rate(self, rate: float) -> None:
        for group in self.optimiser.param_groups:
            if self.on_gpu:
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def _report(self, total: torch.Tensor, begun: float, done: int) -> None:
        loss = float(total) / ((self.step - 1) % LOG_EVERY + 1)
        pace = done / (time.perf_counter() - begun)
        if self.rank == 0:
            print(
                f"  {self.file.stem}: step {self.step}/{self.plan.steps}, loss {loss:.5f}, {pace:.1f} steps/s",
                flush=True,
            )
        if not loss <= WORSE * self._best:
            raise FloatingPointError(
                f"{self.file.stem}: got loss {loss:.5f} at step {self.step}; expected at most {WORSE} times the best, "
                f"{self._best:.5f}. Remove {self.file} and lower the rate of its plan."
            )
        self._best = min(self._best, loss)

    def averaged(self) -> dict[str, torch.Tensor]:
        """Return the module's state with its trained weights replaced by their moving averages."""
        names = [name for name, param in self.module.named_parameters() if param.requires_grad]
        return {**self.module.state_dict(), **dict(zip(names, self.average, strict=True))}
