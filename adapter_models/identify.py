"""Files that users mistake for adapters: how to recognise them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class OtherFile:
    """A type of file that is not an adapter.

    Attributes:
        name: Its name in messages.
        pattern: Regular expression that a tensor name must match.
        topic: Identifier by which a host finds the loader of such files; see :class:`PackError`.
    """

    name: str
    pattern: str
    topic: str


# The first match wins, so more specific rows come first.
OTHER_FILES = (
    OtherFile("a T2I style adapter", r"(^|\.)style_embedding$", topic="style-adapter"),
    # Not task_embedding: a multi-condition ControlNet has one too.
    OtherFile("a CoAdapter fuser", r"(^|\.)seq_proj$", topic="fuser"),
    OtherFile("a Flux Redux style model", r"^redux_(up|down)\.", topic="redux"),
    OtherFile("an IP-Adapter", r"(^|\.)(image_proj|ip_adapter|adapter_modules)\.", topic="ip-adapter"),
    OtherFile("a ControlNet-LoRA", r"^lora_controlnet$", topic="controlnet"),
    OtherFile(
        "a LoRA",
        r"(lora_(up|down|A|B|unet|te)|[._]lora\.|hada_w|lokr_w|oft_blocks|dora_scale)",
        topic="lora",
    ),
    OtherFile("a Stable Cascade ControlNet", r"^backbone\.\d+\.", topic="controlnet"),
    OtherFile(
        "a ControlNet",
        r"(^control_model\.|controlnet_|zero_convs\.|control_add_embedding|^lllite_|pos_embed_input)",
        topic="controlnet",
    ),
    OtherFile("a checkpoint", r"^(model\.diffusion_model|cond_stage_model|conditioner)\.", topic="checkpoint"),
    OtherFile(
        "a diffusion model",
        r"^(diffusion_model\.|input_blocks\.|down_blocks\.|double_blocks\.|joint_blocks\.|transformer_blocks\.)",
        topic="diffusion-model",
    ),
    OtherFile(
        "a VAE", r"^(first_stage_model\.|encoder\.(conv_in|down)|decoder\.(conv_in|up)|taesd_|quant_conv)", topic="vae"
    ),
    OtherFile("a VAE", r"^(\d+\.conv\.\d+\.weight$|(en|de)coder\.layers\.\d)", topic="vae-approx"),
    OtherFile("a CLIP vision model", r"(vision_model\.|visual\.|image_encoder\.)", topic="clip-vision"),
    OtherFile(
        "a text encoder", r"(text_model\.|token_embedding|encoder\.block\.|shared\.weight)", topic="text-encoder"
    ),
    OtherFile("a textual inversion", r"^(string_to_param|emb_params|clip_[lg]$)", topic="embedding"),
    OtherFile(
        "an upscaling model",
        r"(^model\.\d+\.|^(\w+\.)?body\.\d+\.(rdb|weight$)|RRDB|upsampler|conv_body)",
        topic="upscaler",
    ),
)


def identify(names: Iterable[str]) -> OtherFile | None:
    """Identify a file that is not an adapter by its tensor names; None if unknown."""
    names = list(names)
    return next((row for row in OTHER_FILES if any(re.search(row.pattern, name) for name in names)), None)
