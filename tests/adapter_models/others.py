"""Files that users mistake for adapters: a few tensors each, with the names that the real files have."""

from __future__ import annotations

import torch


def tensors(*names: str) -> dict[str, torch.Tensor]:
    """A small tensor for each name."""
    return {name: torch.zeros(4, 4) for name in names}


UNET = ("conv_in.weight", "down_blocks.0.resnets.0.conv1.weight", "mid_block.resnets.0.conv1.weight")
TEXT = "transformer.text_model.embeddings.token_embedding.weight"
# What it is, in the error's words -> the node it names, and the variants of such files.
OTHERS: dict[str, tuple[str, dict[str, dict]]] = {
    "a ControlNet": (
        "Load ControlNet Model",
        {
            "original": tensors("control_model.input_hint_block.0.weight", "control_model.zero_convs.0.0.weight"),
            "pruned": tensors("input_hint_block.0.weight", "zero_convs.0.0.weight", "input_blocks.0.0.weight"),
            "diffusers": tensors(*UNET, "controlnet_cond_embedding.conv_in.weight", "controlnet_down_blocks.0.weight"),
            "SD3": tensors(
                "controlnet_blocks.0.weight", "pos_embed_input.proj.weight", "transformer_blocks.0.ff.weight"
            ),
            "union": tensors("control_add_embedding.linear_1.weight", "task_embedding", *UNET),
            "lllite": tensors("lllite_unet_input_blocks_4_1_proj_in.conditioning1.0.weight"),
        },
    ),
    "a ControlNet-LoRA": (
        "Load ControlNet Model",
        {"stability": tensors("lora_controlnet", "input_blocks.1.0.emb_layers.1.up", "input_hint_block.0.weight")},
    ),
    "a Stable Cascade ControlNet": (
        "Load ControlNet Model",
        {"canny": tensors("backbone.0.0.weight", "backbone.0.1.running_mean", "projections.0.0.weight")},
    ),
    "a checkpoint": (
        "Load Checkpoint",
        {
            "SD1.5": tensors(
                "model.diffusion_model.input_blocks.0.0.weight",
                "first_stage_model.encoder.conv_in.weight",
                f"cond_stage_model.{TEXT}",
            ),
            "SDXL": tensors(f"conditioner.embedders.0.{TEXT}", "model.diffusion_model.input_blocks.0.0.weight"),
            "nested": {"state_dict": tensors("model.diffusion_model.input_blocks.0.0.weight", "alphas_cumprod")},
        },
    ),
    "a diffusion model": (
        "Load Diffusion Model",
        {
            "diffusers": tensors(*UNET, "up_blocks.0.resnets.0.conv1.weight", "conv_out.weight"),
            "original": tensors("input_blocks.0.0.weight", "middle_block.0.in_layers.0.weight", "out.0.weight"),
            "Flux": tensors("double_blocks.0.img_attn.qkv.weight", "single_blocks.0.linear1.weight"),
        },
    ),
    "a LoRA": (
        "Load LoRA",
        {
            "kohya": tensors(
                "lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight",
                "lora_unet_down_blocks_0_attentions_0_proj_in.alpha",
                "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight",
            ),
            "peft": tensors("base_model.model.unet.down_blocks.0.attn1.to_q.lora_A.weight"),
            "diffusers": tensors("unet.down_blocks.0.attentions.0.attn1.processor.to_q_lora.down.weight"),
            "diffusers new": tensors("unet.down_blocks.0.attentions.0.attn1.to_q.lora.up.weight"),
            "LoHa": tensors("lora_unet_mid_block_attentions_0_proj_in.hada_w1_a"),
            "LoKr": tensors("lycoris_blocks_0_attn.lokr_w1"),
        },
    ),
    "an IP-Adapter": (
        "IP-Adapter",
        {
            "flat": tensors("image_proj.proj.weight", "image_proj.norm.weight", "ip_adapter.1.to_k_ip.weight"),
            "nested": {
                "image_proj": tensors("proj.weight", "norm.weight"),
                "ip_adapter": tensors("1.to_k_ip.weight", "1.to_v_ip.weight"),
            },
        },
    ),
    "a T2I style adapter": (
        "Load T2I Style Adapter",
        {"sd14v1": tensors("style_embedding", "proj", "ln_pre.weight", "transformer_layes.0.attn.in_proj_weight")},
    ),
    "a CoAdapter fuser": (
        "Load CoAdapter Fuser",
        {"sd15v1": tensors("task_embedding", "positional_embedding", "seq_proj", "spatial_feat_mapping.0.1.weight")},
    ),
    "a Flux Redux style model": (
        "Load Style Model",
        {"dev": tensors("redux_up.weight", "redux_up.bias", "redux_down.weight", "redux_down.bias")},
    ),
    "a VAE": (
        "Load VAE",
        {
            "original": tensors("encoder.conv_in.weight", "decoder.conv_in.weight", "quant_conv.weight"),
            "diffusers": tensors(
                "encoder.down_blocks.0.resnets.0.conv1.weight", "decoder.up_blocks.0.resnets.0.conv1.weight"
            ),
            "TAESD decoder": tensors("1.weight", "3.conv.0.weight", "3.conv.2.weight", "18.bias"),
            "TAESD encoder": tensors("0.weight", "1.conv.0.weight", "14.bias"),
            "TAESD joined": tensors("taesd_encoder.0.weight", "taesd_decoder.1.weight"),
            "TAESD diffusers": tensors("encoder.layers.0.weight", "decoder.layers.1.weight"),
        },
    ),
    "a CLIP vision model": (
        "Load CLIP Vision",
        {
            "ViT-L": tensors("vision_model.embeddings.class_embedding", "visual_projection.weight"),
            "OpenCLIP": tensors("visual.transformer.resblocks.0.attn.in_proj_weight", "visual.class_embedding"),
        },
    ),
    "a text encoder": (
        "Load CLIP",
        {
            "CLIP": tensors(
                "text_model.embeddings.token_embedding.weight", "text_model.encoder.layers.0.mlp.fc1.weight"
            ),
            "T5": tensors("shared.weight", "encoder.block.0.layer.0.SelfAttention.q.weight"),
        },
    ),
    "a textual inversion": (
        "embedding:NAME",
        {
            "A1111 safetensors": tensors("emb_params"),
            "SDXL": tensors("clip_g", "clip_l"),
            "A1111": {"string_to_token": {"*": 265}, "string_to_param": tensors("*"), "name": "cat", "step": 10},
        },
    ),
    "an upscaling model": (
        "Load Upscale Model",
        {
            "ESRGAN": tensors("model.0.weight", "model.1.sub.0.RDB1.conv1.0.weight"),
            "Real-ESRGAN": {"params_ema": tensors("conv_first.weight", "body.0.rdb1.conv1.weight", "conv_body.weight")},
            "compact": {"params": tensors("body.0.weight", "body.1.weight", "body.2.weight")},
        },
    ),
}
CASES = {
    f"{what}: {variant}": (what, node, content)
    for what, (node, variants) in OTHERS.items()
    for variant, content in variants.items()
}
