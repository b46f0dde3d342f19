"""A step of training: ours, and the loop of diffusers' T2I-Adapter script, on the same weights and batches."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..adapter_models import networks
from ..adapter_models.saving import layout_named, tensors_for_file
from ..training.data import Draw, TrainingSet, training_set
from ..training.loop import Trainer
from ..training.settings import Settings
from . import models, probe, report
from .measure import Patience, interleave, ratios, summarise, synchronise, timed
from .options import Options
from .saved import saved_bytes

SCRIPT, FROZEN = "diffusers' script", "diffusers, UNet frozen"
# above, below, goal of the time (at most), goal of the memory (at most): 1.3 times the steps, 0.8 times the memory.
RATIOS: tuple[tuple[str, str, float | None, float | None], ...] = (
    ("ours", SCRIPT, 1 / 1.3, 0.8),
    ("ours", FROZEN, None, None),
    ("ours, checkpointing", "ours", None, None),
)
# What is measured by turns. Not all at once: each UNet of diffusers has gigabytes of its own.
GROUPS = (("ours", "ours, checkpointing", SCRIPT), ("ours", FROZEN))
# The adapter's learning rate and clipping, as the script has them by default.
RATE, CLIP, DECAY = 1e-5, 1.0, 1e-2
EXAMPLES = 4
# Steps of a process whose memory is measured: the optimiser has its state after the first.
STEPS = 2


@dataclass(frozen=True)
class Plan:
    """What to train.

    Attributes:
        device: where to compute.
        size: of the pictures, in pixels.
        narrow: by how much narrower than SD1.5 the networks are.
        precision: a name of :data:`..training.settings.PRECISIONS`; the UNet has it too.
        tiny: for smoke runs.
    """

    device: torch.device
    size: int
    narrow: int
    precision: str
    tiny: bool = False

    @property
    def scale(self) -> models.Scale:
        """Size and precision of the networks."""
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[self.precision]
        return models.Scale(self.device, "SD", self.tiny, self.narrow, dtype)

    @property
    def settings(self) -> Settings:
        """What both train with."""
        return Settings(10**6, 1, RATE, precision=self.precision, clip=CLIP, weight_decay=DECAY)


@dataclass(frozen=True)
class Loop:
    """A training loop: ``step`` makes one step and returns its loss; ``networks`` are those that it calls."""

    step: Callable[[], float]
    networks: tuple[nn.Module, ...]


def plans(options: Options) -> tuple[Plan, ...]:
    """Choose by device: without a GPU bf16 is computed so slowly that only narrow networks come to an end."""
    if options.quick:
        return tuple(Plan(options.device, 64, 1, name, tiny=True) for name in ("fp32", "bf16"))
    if options.device.type == "cuda":
        return tuple(Plan(options.device, 512, 1, name) for name in ("fp32", "bf16"))
    return (Plan(options.device, 256, 1, "fp32"), Plan(options.device, 256, 5, "bf16"))


def run(options: Options) -> report.Section:
    """Let steps take turns, then account for them."""
    tables: list[report.Table] = []
    for plan in plans(options):
        tables += measure(plan, options)
        gc.collect()
    notes = (
        f"*{SCRIPT}* is the inner loop of `train_t2i_adapter_sdxl.py` for SD1.5, without its VAE: its UNet is never "
        f"frozen, so gradients of all its weights are computed and kept. *{FROZEN}* is the same loop without that.",
        "*kept for backward*: bytes that autograd keeps of one forward, weights left out. *operations*: those of "
        "convolutions, products and attention in a step, counted by torch. Neither depends on the machine.",
        "*peak memory*: what training adds to a fresh process in which all is imported: weights, their gradients, the "
        "optimiser, and what is kept.",
    )
    title = "Training step: random SD1.5-shaped UNet, full adapter, batch of 1"
    return report.Section(options.key("train"), title, tables, notes)


def measure(plan: Plan, options: Options) -> list[report.Table]:
    """Measure the loops of :data:`LOOPS`."""
    asked = {name: value for name, value in dataclasses.asdict(plan).items() if name != "device"}
    peaks = {}
    for name in LOOPS:
        what = {"variant": name, "plan": asked, "steps": STEPS}
        peaks[name] = probe.ask("train", plan.device, what, fresh=not options.quick)["peak"]
    model = models.unet(plan.scale, whole=True)
    groups = [_together(group, plan, model, options) for group in GROUPS]
    costs = {name: cost for _, group in groups for name, cost in group.items()}
    name = f"{plan.precision}, {plan.scale.width} channels, {plan.size}×{plan.size}"
    times = [times for times, _ in groups]
    return [_figures(name, times, peaks, costs), _goals(name, times, peaks), _same(plan, costs)]


def _together(
    group: Sequence[str], plan: Plan, model: Any, options: Options
) -> tuple[dict[str, list[float]], dict[str, Cost]]:
    gc.collect()
    most = 2 if options.quick else 60
    patience = Patience(min(most, 10), most, 0.0 if options.quick else 600.0 * options.patience, 0.01)
    with contextlib.ExitStack() as stack:
        loops = {name: LOOPS[name](stack, plan, model) for name in group}
        costs = {name: account(loop) for name, loop in loops.items()}
        turns = {name: lambda loop=loop: timed(loop.step, plan.device) for name, loop in loops.items()}
        times = interleave(turns, patience, [row[:2] for row in RATIOS if set(row[:2]) <= set(group)])
    return times, costs


@dataclass(frozen=True)
class Cost:
    """What a step needs on any machine: bytes kept for its backward pass, operations, and the loss that it gave."""

    kept: int
    operations: int
    loss: float


def account(loop: Loop) -> Cost:
    """Make the first step, and count."""
    counter = FlopCounterMode(display=False)
    with saved_bytes(*loop.networks) as kept, counter:
        loss = loop.step()
    return Cost(kept.nbytes, counter.get_total_flops(), loss)


def _figures(
    name: str, groups: Sequence[Mapping[str, list[float]]], peaks: Mapping[str, int], costs: Mapping[str, Cost]
) -> report.Table:
    head = ("loop", "seconds per step", "peak memory", "kept for backward", "operations, 1e9")
    table = report.Table(head, caption=f"{name}, each loop")
    for loop, cost in costs.items():
        seconds = next(times[loop] for times in groups if loop in times)
        kept, peak = report.megabytes(cost.kept), report.megabytes(peaks[loop])
        table.add(loop, report.spread(summarise(seconds)), peak, kept, f"{cost.operations / 1e9:.1f}")
    return table


def _goals(name: str, groups: Sequence[Mapping[str, list[float]]], peaks: Mapping[str, int]) -> report.Table:
    table = report.Table(("ratio", "goal", "value", "holds"), caption=f"{name}, compared")
    for above, below, time_goal, memory_goal in RATIOS:
        times = next(times for times in groups if above in times and below in times)
        figure = summarise(ratios(times[above], times[below]))
        memory = peaks[above] / peaks[below]
        rows = (
            ("time", time_goal, report.spread(figure), report.verdict(figure, time_goal or 0)),
            ("peak memory", memory_goal, f"{memory:.3f}", report.holds(memory, memory_goal or 0)),
        )
        for what, goal, value, holds in rows:
            table.add(
                f"{what}, {above} / {below}", *(("", value, "") if goal is None else (f"≤ {goal:.3f}", value, holds))
            )
    return table


def _same(plan: Plan, costs: Mapping[str, Cost]) -> report.Table:
    table = report.Table(("check", "ours", "diffusers"), caption="That both do the same job")
    table.add(f"loss of the same batch, {plan.precision}", f"{costs['ours'].loss:.6f}", f"{costs[SCRIPT].loss:.6f}")
    return table


def _examples(plan: Plan) -> TrainingSet:
    generator = torch.Generator().manual_seed(0)
    side = plan.size // 8
    return training_set(
        torch.randn(EXAMPLES, 4, side, side, generator=generator),
        torch.rand(EXAMPLES, 3, plan.size, plan.size, generator=generator),
        {"c_crossattn": torch.randn(EXAMPLES, 77, plan.scale.context, generator=generator)},
        models.adapter_config(plan.scale),
    )


def _adapter(plan: Plan) -> networks.Adapter:
    network = networks.build(models.adapter_config(plan.scale))
    models.randomise(network, 1)
    return network


def _ours(stack: contextlib.ExitStack, plan: Plan, model: Any, *, checkpointing: bool = False) -> Loop:
    from ..adapter_models.families import sites_for
    from ..nodes import host
    from ..nodes.frozen import frozen_denoiser

    adapter = _adapter(plan)
    loaded = stack.enter_context(host.training(model or models.unet(plan.scale, whole=True)))
    sites = sites_for("adapter", adapter.config, host.unet_outline(loaded))
    settings = dataclasses.replace(plan.settings, gradient_checkpointing=checkpointing)
    trainer = Trainer(adapter, _examples(plan), frozen_denoiser(loaded, sites), settings, plan.device)
    return Loop(trainer.advance, (trainer.network, loaded.model.diffusion_model))


def _script(_: contextlib.ExitStack, plan: Plan, model: Any, *, frozen: bool = False) -> Loop:
    """Make the script's loop.

    Source: huggingface/diffusers ``examples/t2i_adapter/train_t2i_adapter_sdxl.py``, its steps in our words: features
    as residuals inside of the blocks, AdamW, gradients clipped; in bf16 the UNet is converted and the adapter autocast.
    """
    from diffusers import DDPMScheduler, T2IAdapter

    unet = _diffusers_unet(plan, model).requires_grad_(not frozen).train()
    config = models.adapter_config(plan.scale)
    adapter = T2IAdapter(channels=list(config.channels), num_res_blocks=config.num_res_blocks)
    layout = layout_named("diffusers")
    adapter.load_state_dict(tensors_for_file(_adapter(plan), layout, torch.float32))
    nn.Module.to(adapter, plan.device).train()
    optimiser = torch.optim.AdamW(adapter.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    data, draw, dtype = _examples(plan), Draw(1), plan.scale.dtype
    number = iter(range(10**9))

    def step() -> float:
        batch = data.batch(draw, next(number)).to(plan.device)
        with torch.autocast(plan.device.type, dtype=torch.bfloat16, enabled=plan.precision == "bf16"):
            features: list[Tensor] = adapter(batch.images)
        predicted = unet(
            schedule.add_noise(batch.latents, batch.noise, batch.times).to(dtype),
            batch.times,
            encoder_hidden_states=batch.prompts["c_crossattn"].to(dtype),
            down_intrablock_additional_residuals=[feature.to(dtype) for feature in features],
        ).sample
        loss = nn.functional.mse_loss(predicted.float(), batch.noise)
        loss.backward()
        nn.utils.clip_grad_norm_(adapter.parameters(), CLIP)
        optimiser.step()
        optimiser.zero_grad()
        synchronise(plan.device)
        return float(loss.detach())

    return Loop(step, (adapter, unet))


def _diffusers_unet(plan: Plan, model: Any) -> nn.Module:
    import comfy.utils
    from diffusers import UNet2DConditionModel

    widths = tuple(plan.scale.width * times for times in (1, 2, 4, 4))
    unet = UNet2DConditionModel(
        sample_size=plan.size // 8, block_out_channels=widths, cross_attention_dim=plan.scale.context
    )
    if model is None:
        models.randomise(unet, 0)
    else:
        weights = model.model.diffusion_model.state_dict()
        names = comfy.utils.unet_to_diffusers(model.model.model_config.unet_config)
        # The table has names of skip connections that only some blocks have.
        unet.load_state_dict({theirs: weights[core] for theirs, core in names.items() if core in weights})
    return nn.Module.to(unet, plan.device, plan.scale.dtype)


# Each takes a stack for what has to be closed, the plan, and the MODEL whose weights it gets; None for its own.
LOOPS: dict[str, Callable[[contextlib.ExitStack, Plan, Any], Loop]] = {
    "ours": _ours,
    "ours, checkpointing": lambda stack, plan, model: _ours(stack, plan, model, checkpointing=True),
    SCRIPT: _script,
    FROZEN: lambda stack, plan, model: _script(stack, plan, model, frozen=True),
}
