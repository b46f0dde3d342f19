"""Training loops to compare: ours, and that of diffusers' T2I-Adapter script in our words."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..adapter_models import networks
from ..adapter_models.saving import layout_named, tensors_for_file
from ..training.data import Draw, TrainingSet, training_set
from ..training.loop import Trainer
from ..training.settings import Settings
from . import models
from .measure import synchronise

SCRIPT, FROZEN = "diffusers' script", "diffusers, UNet frozen"
# The adapter's learning rate and clipping, as the script has them by default.
RATE, CLIP, DECAY = 1e-5, 1.0, 1e-2
EXAMPLES = 4


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
    loaded = stack.enter_context(host.ready_to_train(model or models.unet(plan.scale, whole=True)))
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
