"""Teach ComfyUI's stock loader the miniature checkpoint: link or copy this folder into `custom_nodes`.

It adds one row to the table by which `CheckpointLoaderSimple` recognises models, and no nodes. The file contains only
the token rows of the words in use, and a VAE narrower than ComfyUI's class. Loading pads both with zeros, which does
not change the results: unused words were never trained, and relu(0) = 0.
"""

from __future__ import annotations

from typing import Any

import comfy.supported_models
import torch
from comfy import latent_formats, model_base, sd1_clip, supported_models_base

NODE_CLASS_MAPPINGS: dict[str, type] = {}

TOKENS = "token_ids"
EMBEDDING = "clip_l.transformer.text_model.embeddings.token_embedding.weight"
VOCABULARY = 49408
VAE_WIDTH = 64
VAE_ENDS = (3, 4)  # channels of pictures and of latents
TEXT_CONFIG = {"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 256}


class MiniatureTextEncoder(sd1_clip.SD1ClipModel):
    """SD1's text encoder at the miniature's size."""

    def __init__(
        self, device: Any = "cpu", dtype: torch.dtype | None = None, model_options: dict[str, Any] | None = None
    ) -> None:
        options = {**(model_options or {}), "clip_l_model_config": TEXT_CONFIG}
        super().__init__(device=device, dtype=dtype, model_options=options)


class Miniature(supported_models_base.BASE):
    """SD1's block layout with 32 channels, 64-wide text and v-prediction."""

    unet_config = {"context_dim": 64, "model_channels": 32, "adm_in_channels": None}  # noqa: RUF012 (the host's form)
    # The number of heads can't be read from weights.
    unet_extra_config = {"num_heads": -1, "num_head_channels": 32}  # noqa: RUF012
    required_keys = {"cond_stage_model." + TOKENS: None}  # noqa: RUF012
    latent_format = latent_formats.SD15
    memory_usage_factor = 1.0

    def model_type(self, state_dict: dict[str, torch.Tensor], prefix: str = "") -> model_base.ModelType:
        """Return the UNet's prediction type."""
        return model_base.ModelType.V_PREDICTION

    def process_clip_state_dict(self, state_dict: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Rename the text encoder's keys, and expand the known words' rows to SD1's whole vocabulary."""
        prefix = self.text_encoder_key_prefix[0]
        state = {"clip_l." + key[len(prefix) :]: value for key, value in state_dict.items() if key.startswith(prefix)}
        ids = state.pop("clip_l." + TOKENS).long()
        rows = state[EMBEDDING]
        table = torch.zeros((VOCABULARY, rows.shape[1]), dtype=rows.dtype)
        table[ids] = rows
        state[EMBEDDING] = table
        return state

    def process_vae_state_dict(self, state_dict: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Pad both halves of the VAE with zeros."""
        return {key: widened(value) if key.startswith("taesd_") else value for key, value in state_dict.items()}

    def clip_target(self, state_dict: dict[str, torch.Tensor] | None = None) -> supported_models_base.ClipTarget:
        """Return the tokenizer and the text encoder."""
        return supported_models_base.ClipTarget(sd1_clip.SD1Tokenizer, MiniatureTextEncoder)


def widened(weight: torch.Tensor) -> torch.Tensor:
    """Pad what a layer of the VAE takes and gives to 64 channels with zeros; pictures and latents stay as they are."""
    sizes = [size if place > 1 or size in VAE_ENDS else VAE_WIDTH for place, size in enumerate(weight.shape)]
    out = torch.zeros(sizes, dtype=weight.dtype)
    out[tuple(slice(size) for size in weight.shape)] = weight
    return out


if not any(model.__name__ == Miniature.__name__ for model in comfy.supported_models.models):
    comfy.supported_models.models.append(Miniature)
