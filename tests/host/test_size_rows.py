"""The sizes of a training picture reach SDXL as ComfyUI's own nodes pass them."""

from __future__ import annotations

import torch
from t2i_adapter_pack.training.framing import Framing
from t2i_adapter_pack.training.prompts import with_sizes

from . import tiny


def test_sdxl_is_told_original_size_crop_and_target_as_core_s_node_passes_them(inside_comfyui):
    import comfy.model_base
    from t2i_adapter_pack.nodes.training.frozen_denoiser import prompt_rows
    from t2i_adapter_pack.nodes.training.size_rows import size_rows

    model = tiny.model("SDXL", num_classes="sequential", adm_in_channels=16 + 6 * 256)
    model.model.__class__ = comfy.model_base.SDXL
    model.model.embedder, model.model.noise_augmentor = comfy.model_base.Timestep(256), None
    pooled = torch.randn(1, 16, generator=torch.Generator().manual_seed(0))
    latents = torch.zeros(1, 4, 8, 8)
    plain = prompt_rows(model, tiny.conditioning(0, pooled_output=pooled), latents)
    # The names that CLIP Text Encode SDXL gives them.
    extras = {"height": 300, "width": 500, "crop_h": 7, "crop_w": 40, "target_height": 512, "target_width": 640}
    expected = prompt_rows(model, tiny.conditioning(0, pooled_output=pooled, **extras), latents)
    empty = tiny.conditioning(1, pooled_output=torch.zeros(1, 16))
    sizes = size_rows(model, empty, Framing((300, 500), (7, 40), (512, 640)))
    told = with_sizes(plain, sizes)
    assert torch.equal(told["y"], expected["y"])
    assert not torch.equal(told["y"], plain["y"])
    # Runs of earlier versions: without a crop, the size of the bucket is what ComfyUI takes by default.
    assert torch.equal(with_sizes(plain, size_rows(model, empty, Framing((64, 64), (0, 0), (64, 64))))["y"], plain["y"])


def test_models_that_take_no_sizes_are_told_none(sd):
    from t2i_adapter_pack.nodes.training.size_rows import size_rows

    prompt = tiny.conditioning(0, pooled_output=torch.zeros(1, 16))
    assert size_rows(sd, prompt, Framing((300, 500), (7, 40), (512, 640))) == {}
