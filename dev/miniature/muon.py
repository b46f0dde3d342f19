"""An optimiser for networks of convolutions: it needs about half of Adam's steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

ENDS = 4  # layers that take or give no more channels than pictures and latents have are left to Adam
QUINTIC = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Momentum, made orthogonal for each inner convolution; Adam for biases and the outer layers.

    One rate serves both, since an orthogonal update is scaled to the size that Adam's usually has.

    Args:
        params: weights and biases.
        lr: rate, a number or a tensor.
        momentum: of the convolutions.
        betas: Adam's.
        eps: Adam's.

    Source: Jordan et al. 2024, Muon; the scale is from Liu et al. 2025, Muon is Scalable for LLM Training.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float | Tensor,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-7,
    ) -> None:
        inner: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for param in params:
            (inner if param.ndim == 4 and min(param.shape[:2]) > ENDS else others).append(param)
        groups = [{"params": inner, "inner": True}, {"params": others, "inner": False}]
        super().__init__(groups, {"lr": lr, "momentum": momentum, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            params = [param for param in group["params"] if param.grad is not None]
            if not group["inner"]:
                self._adam(params, group)
                continue
            # Layers of one shape go through the iterations together, which takes far fewer calls.
            shapes: dict[torch.Size, list[nn.Parameter]] = {}
            for param in params:
                shapes.setdefault(param.shape, []).append(param)
            for alike in shapes.values():
                self._turn(alike, group)

    def _turn(self, params: list[nn.Parameter], group: dict[str, object]) -> None:
        keep = group["momentum"]
        updates = []
        for param in params:
            state = self.state[param]
            if not state:
                state["average"] = torch.zeros_like(param)
            average = state["average"].lerp_(param.grad, 1.0 - keep)
            updates.append(param.grad.lerp(average, keep).flatten(1))
        update = orthogonal(torch.stack(updates))
        size = group["lr"] * 0.2 * max(update.shape[1:]) ** 0.5
        for param, each in zip(params, update, strict=True):
            param.sub_(size * each.view_as(param))

    def _adam(self, params: list[nn.Parameter], group: dict[str, object]) -> None:
        first, second = group["betas"]
        for param in params:
            state = self.state[param]
            if not state:
                state["step"] = torch.zeros((), device=param.device)
                state["average"], state["square"] = torch.zeros_like(param), torch.zeros_like(param)
            count = state["step"].add_(1.0)
            average = state["average"].lerp_(param.grad, 1.0 - first) / (1.0 - first**count)
            square = state["square"].lerp_(param.grad.square(), 1.0 - second) / (1.0 - second**count)
            param.sub_(group["lr"] * average / (square.sqrt() + group["eps"]))


def orthogonal(matrices: Tensor) -> Tensor:
    """Bring the singular values of matrices (N, rows, columns) near 1, by Newton-Schulz iterations."""
    tall = matrices.shape[1] > matrices.shape[2]
    out = matrices.mT if tall else matrices
    out = out / (out.norm(dim=(1, 2), keepdim=True) + 1e-7)
    one, three, five = QUINTIC
    for _ in range(ITERATIONS):
        square = out @ out.mT
        out = one * out + (three * square + five * (square @ square)) @ out
    return out.mT if tall else out
