"""Training loops to compare: ours, and a reimplementation of diffusers' T2I-Adapter script."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ...adapter_models import networks
from ...adapter_models.saving import layout_named, tensors_for_file
from ...training.in_memory_dataset import Draw, TrainingSet, training_set
from ...training.loop import Trainer
from ...training.settings import Settings
from . import models
from .measure import synchronise

SCRIPT, FROZEN = "diffusers' script", "diffusers, UNet frozen"
# The adapter's learning rate and clipping, as the script has them by default.
RATE, CLIP, DECAY = 1e-5, 1.0, 1e-2
EXAMPLES = 4
# SDXL's pooled prompt, and the embedding of each of its six numbers.
POOLED, SIZE_WIDTH = 1280, 256


@dataclass(frozen=True)
class Plan:
    """What to train.

    Attributes:
        device: Device to compute on.
        size: Side of the pictures in pixels.
        narrow: Factor by which the networks are narrower than SD1.5.
        precision: A name in :data:`..training.settings.PRECISIONS`; also the UNet's precision.
        tiny: Tiny networks for smoke runs.
        family: Family of the UNet and the adapter.
        checkpointing: Use gradient checkpointing in every loop.
    """

    device: torch.device
    size: int
    narrow: int
    precision: str
    tiny: bool = False
    family: Literal["SD", "SDXL"] = "SD"
    checkpointing: bool = False

    @property
    def scale(self) -> models.Scale:
        """Size and precision of the networks."""
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[self.precision]
        return models.Scale(self.device, self.family, self.tiny, self.narrow, dtype)

    @property
    def settings(self) -> Settings:
        """The settings of both loops."""
        return Settings(
            steps=10**6,
            batch_size=1,
            learning_rate=RATE,
            precision=self.precision,
            clip=CLIP,
            weight_decay=DECAY,
        )


@dataclass(frozen=True)
class Loop:
    """A training loop: ``step`` makes one step and returns its loss; ``networks`` are the networks it calls."""

    step: Callable[[], float]
    networks: tuple[nn.Module, ...]


def _examples(plan: Plan) -> TrainingSet:
    generator = torch.Generator().manual_seed(0)
    side = plan.size // 8
    return training_set(
        torch.randn(EXAMPLES, 4, side, side, generator=generator),
        torch.rand(EXAMPLES, 3, plan.size, plan.size, generator=generator),
        _prompts(plan, generator),
        models.adapter_config(plan.scale),
    )


def _prompts(plan: Plan, generator: torch.Generator) -> dict[str, Tensor]:
    prompts = {"c_crossattn": torch.randn(EXAMPLES, 77, plan.scale.context, generator=generator)}
    if plan.family == "SDXL":
        from comfy.ldm.modules.diffusionmodules.openaimodel import Timestep

        pooled = torch.randn(EXAMPLES, POOLED, generator=generator)
        # ComfyUI's embedding of the sizes that the script passes as numbers.
        sizes = Timestep(SIZE_WIDTH)(_sizes(plan)[0]).flatten().expand(EXAMPLES, -1)
        prompts["y"] = torch.cat([pooled, sizes], dim=1)
    return prompts


def _sizes(plan: Plan) -> Tensor:
    """Return SDXL's six numbers, (1, 6): original size, crop position, and target size."""
    return torch.tensor([[plan.size, plan.size, 0, 0, plan.size, plan.size]], dtype=torch.float32)


def _adapter(plan: Plan) -> networks.Adapter:
    network = networks.build_adapter(models.adapter_config(plan.scale))
    models.randomise(network, 1)
    return network


def _ours(stack: contextlib.ExitStack, plan: Plan, model: Any, *, checkpointing: bool = False) -> Loop:
    from ...adapter_models.families import sites_for
    from ...nodes import host
    from ...nodes.training.frozen_denoiser import frozen_denoiser

    adapter = _adapter(plan)
    loaded = stack.enter_context(host.ready_to_train(model or models.unet(plan.scale, whole=True)))
    sites = sites_for("adapter", adapter.config, host.unet_outline(loaded))
    settings = dataclasses.replace(plan.settings, gradient_checkpointing=checkpointing or plan.checkpointing)
    trainer = Trainer(adapter, _examples(plan), frozen_denoiser(loaded, sites), settings, plan.device)
    return Loop(trainer.advance, (trainer.network, loaded.model.diffusion_model))


def _script(_: contextlib.ExitStack, plan: Plan, model: Any, *, frozen: bool = False) -> Loop:
    """Make the script's loop.

    Source: huggingface/diffusers ``examples/t2i_adapter/train_t2i_adapter_sdxl.py``, reimplemented: features
    as residuals inside the blocks, AdamW, gradients clipped; in bf16 the UNet is converted and the adapter autocast.
    """
    from diffusers import DDPMScheduler, T2IAdapter

    unet: Any = _diffusers_unet(plan, model).requires_grad_(not frozen).train()
    if plan.checkpointing:
        unet.enable_gradient_checkpointing()
    config = models.adapter_config(plan.scale)
    kind = {"adapter_type": "full_adapter_xl" if plan.family == "SDXL" else "full_adapter"}
    adapter = T2IAdapter(
        channels=list(config.channels),
        num_res_blocks=config.num_res_blocks,
        downscale_factor=config.unshuffle,
        **kind,
    )
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
            schedule.add_noise(batch.latents, batch.noise, batch.timesteps).to(dtype),
            batch.timesteps,
            encoder_hidden_states=batch.prompts["c_crossattn"].to(dtype),
            added_cond_kwargs=_added(plan, batch.prompts, dtype),
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


def _added(plan: Plan, prompts: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor] | None:
    if plan.family != "SDXL":
        return None
    pooled = prompts["y"][:, :POOLED]
    return {"text_embeds": pooled.to(dtype), "time_ids": _sizes(plan).expand(len(pooled), -1).to(plan.device)}


def _unet_config(plan: Plan) -> dict[str, Any]:
    """Return the UNet's differences from diffusers' defaults, which are SD1.5's."""
    scale = plan.scale
    shape = {"sample_size": plan.size // 8, "cross_attention_dim": scale.context}
    if plan.family == "SD":
        return {**shape, "block_out_channels": tuple(scale.width * times for times in (1, 2, 4, 4))}
    widths = tuple(scale.width * times for times in (1, 2, 4))
    return {
        **shape,
        "block_out_channels": widths,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 10),
        "attention_head_dim": tuple(width // scale.head for width in widths),  # their name for the number of heads
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": SIZE_WIDTH,
        "projection_class_embeddings_input_dim": POOLED + 6 * SIZE_WIDTH,
    }


def _diffusers_unet(plan: Plan, model: Any) -> nn.Module:
    import comfy.utils
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel(**_unet_config(plan))
    if model is None:
        models.randomise(unet, 0)
    else:
        weights = model.model.diffusion_model.state_dict()
        names = comfy.utils.unet_to_diffusers(model.model.model_config.unet_config)
        # The table contains skip connections that only some blocks have, and two names for an embedding of SDXL.
        known = unet.state_dict().keys() & {theirs for theirs, core in names.items() if core in weights}
        unet.load_state_dict({theirs: weights[names[theirs]] for theirs in known})
    return nn.Module.to(unet, plan.device, plan.scale.dtype)


# Each takes an exit stack, the plan, and the MODEL whose weights it uses, or None for random weights.
LOOPS: dict[str, Callable[[contextlib.ExitStack, Plan, Any], Loop]] = {
    "ours": _ours,
    "ours, checkpointing": lambda stack, plan, model: _ours(stack, plan, model, checkpointing=True),
    SCRIPT: _script,
    FROZEN: lambda stack, plan, model: _script(stack, plan, model, frozen=True),
}
