"""The miniature's parts, built from ComfyUI's own classes so that training and the stock nodes run the same code.

Call `host.use_comfyui` before building anything here.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from .prompts import LENGTH, WORDS

UNET_CONFIG: dict[str, object] = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,
    "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": [1, 2, 4, 4],
    "transformer_depth": [0, 0, 1, 1, 0, 0, 0, 0],
    "transformer_depth_output": [0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0],
    "transformer_depth_middle": 1,
    "context_dim": 64,
    "num_head_channels": 32,
    "use_spatial_transformer": True,
    "use_linear_in_transformer": False,
    "adm_in_channels": None,
    "legacy": False,
}
TEXT_CONFIG: dict[str, object] = {
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "intermediate_size": 256,
    "hidden_act": "quick_gelu",
    "max_position_embeddings": LENGTH,
    "eos_token_id": 49407,
}
Widths = tuple[int, ...]  # of a half of the VAE at its four sizes
VAE_FULL = 64  # width of ComfyUI's class; ours is narrower, padded with zeros
VAE_WIDTHS: tuple[Widths, Widths] = ((24,) * 4, (36,) * 4)
LATENT_SCALE = 0.18215
NORM_GROUPS = 32  # groups of every norm in ComfyUI's UNet


def initialise(module: nn.Module) -> None:
    """Initialise every layer as torch does; ComfyUI's layers skip that, since they expect weights from a file."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.Conv2d.reset_parameters(layer)
        elif isinstance(layer, nn.Linear):
            nn.Linear.reset_parameters(layer)
        elif isinstance(layer, (nn.GroupNorm, nn.LayerNorm)):
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.Embedding):
            nn.init.normal_(layer.weight, std=0.02)


def build_unet() -> nn.Module:
    """Build ComfyUI's UNet at the miniature's size; the last layer of each residual branch starts at zero."""
    from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock, UNetModel

    unet = UNetModel(**UNET_CONFIG)
    initialise(unet)
    last = [block.out_layers[3] for block in unet.modules() if isinstance(block, ResBlock)]
    last += [layer for name, layer in unet.named_modules() if name.endswith("proj_out")]
    for layer in (*last, unet.out[2]):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    for block in (block for block in unet.modules() if isinstance(block, ResBlock)):
        if block.out_channels == NORM_GROUPS:
            _freeze_what_the_norm_removes(block)
    return unet


def _freeze_what_the_norm_removes(block: nn.Module) -> None:
    """Freeze at zero the biases just before a norm with one channel per group, which removes them again.

    Their gradient is only rounding noise, which Adam scales up to full steps until rounding errors destroy the
    picture.
    """
    for parameter in (block.in_layers[2].bias, *block.emb_layers[1].parameters()):
        nn.init.zeros_(parameter)
        parameter.requires_grad_(False)


class TextEncoder(nn.Module):
    """ComfyUI's CLIP text model with only the known words' rows; run layer by layer, since its layers add in place.

    State keys are those of ComfyUI's `CLIPTextModel`, with one row per known word in the token embedding.

    Args:
        words: how many words are known.
    """

    def __init__(self, words: int = len(WORDS)) -> None:
        super().__init__()
        import comfy.ops
        from comfy.clip_model import CLIPTextModel

        model = CLIPTextModel(TEXT_CONFIG, torch.float32, "cpu", comfy.ops.disable_weight_init)
        self.text_model = model.text_model
        self.text_projection = model.text_projection
        self.text_model.embeddings.token_embedding = nn.Embedding(words, int(TEXT_CONFIG["hidden_size"]))
        initialise(self)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Encode word rows (B, 77) long as context (B, 77, 64)."""
        embeddings = self.text_model.embeddings
        x = embeddings.token_embedding(tokens) + embeddings.position_embedding.weight
        for layer in self.text_model.encoder.layers:
            x = x + layer.self_attn(layer.layer_norm1(x), None, causal_attention)
            x = x + layer.mlp(layer.layer_norm2(x))
        return self.text_model.final_layer_norm(x)


def causal_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, heads: int, _mask: object
) -> torch.Tensor:
    """Attend from each token to itself and those before it; (B, L, C) each -> (B, L, C)."""
    batch, length, width = query.shape
    parts = (part.view(batch, length, heads, width // heads).transpose(1, 2) for part in (query, key, value))
    out = functional.scaled_dot_product_attention(*parts, is_causal=True)
    return out.transpose(1, 2).reshape(batch, length, width)


def build_vae(widths: tuple[Widths, Widths] = VAE_WIDTHS) -> nn.Module:
    """Build ComfyUI's TAESD with narrower layers; the companion pads them with zeros.

    Args:
        widths: of the encoder and of the decoder, each in the order of its layers: the encoder from the picture's size
            down to an eighth of it, the decoder from an eighth up.
    """
    from comfy.taesd.taesd import TAESD

    vae = TAESD(latent_channels=4)
    for part, stages in ((vae.taesd_encoder, widths[0]), (vae.taesd_decoder, widths[1])):
        stage = 0
        inside = stages[0]
        for place, layer in enumerate(part):
            # Both halves change size three times: by a stride of 2, or by an upsampling.
            stage += isinstance(layer, nn.Upsample) or getattr(layer, "stride", None) == (2, 2)
            if isinstance(layer, nn.Conv2d):
                part[place] = _narrowed(layer, inside, stages[stage])
                inside = stages[stage]
            elif hasattr(layer, "conv"):
                for number, each in enumerate(layer.conv):
                    if isinstance(each, nn.Conv2d):
                        layer.conv[number] = _narrowed(each, inside, inside)
    initialise(vae)
    return vae


def begin_vae(vae: nn.Module) -> None:
    """Initialise a VAE so that signals keep their size through it, residual branches start small, and pictures grey."""
    for name, layer in vae.named_modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
            if name.endswith("conv.4"):
                layer.weight.data.mul_(0.25)
    last = vae.taesd_decoder[-1]
    last.weight.data.mul_(0.3)
    last.bias.data.fill_(0.5)


def vae_widths(state: dict[str, torch.Tensor]) -> tuple[Widths, Widths]:
    """Return the widths that a VAE's state was built with, as `build_vae` takes them."""
    first = (("taesd_encoder", (0, 2, 6, 10)), ("taesd_decoder", (1, 7, 12, 17)))
    encoder, decoder = (tuple(len(state[f"{half}.{place}.weight"]) for place in places) for half, places in first)
    return encoder, decoder


def _narrowed(layer: nn.Conv2d, inside: int, outside: int) -> nn.Conv2d:
    sizes = (
        width if size == VAE_FULL else size
        for size, width in ((layer.in_channels, inside), (layer.out_channels, outside))
    )
    return nn.Conv2d(*sizes, layer.kernel_size, layer.stride, layer.padding, bias=layer.bias is not None)


def alphas(device: torch.device) -> torch.Tensor:
    """Return SD1's cumulative alphas (1000,), as ComfyUI's discrete sampling uses them."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    return torch.cumprod(1.0 - betas, dim=0).float().to(device)
