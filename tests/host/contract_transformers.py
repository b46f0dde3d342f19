"""Calls of test_contract.py: transformers take residuals after their blocks, and predict a flow."""

from __future__ import annotations

from typing import Any

import torch

from . import transformers
from .contract_calls import covers, rows


@covers("comfy.ldm.flux.model:Flux", "comfy.ldm.chroma.model:Chroma", "comfy.ldm.lumina.model:NextDiT",
        "comfy.ldm.qwen_image.model:QwenImageTransformer2DModel",
        "control['input'] and patches double_block, after each block of a transformer",
        *rows("comfy.model_sampling", "CONST.calculate_denoised", "ModelSamplingFlux",
              "ModelSamplingDiscreteFlow"))  # fmt: skip
def transformers_take_residuals_after_their_blocks() -> None:
    from comfy.model_sampling import CONST, ModelSamplingDiscreteFlow, ModelSamplingFlux

    for family in ("Flux", "Chroma", "Qwen-Image", "Lumina 2"):
        patched = transformers.model(family)
        sampling = patched.get_model_object("model_sampling")
        assert isinstance(sampling, (ModelSamplingFlux, ModelSamplingDiscreteFlow))
        assert type(sampling).calculate_denoised is CONST.calculate_denoised
        seen: list[int] = []
        changed = predicted(patched, {"input": [None, torch.ones(1, 16, transformers.WIDTH)], "output": []}, seen)
        assert torch.equal(changed, predicted(patched, None, seen)) == (family == "Lumina 2")
        assert (len(seen) == 2 * transformers.BLOCKS) == (family in ("Lumina 2", "Qwen-Image"))


def predicted(patched: Any, control: Any, seen: list[int]) -> torch.Tensor:
    """Call a transformer on an empty picture of 64 pixels, and note the blocks whose patch ran."""

    def patch(args: dict[str, Any]) -> dict[str, Any]:
        seen.append(args["block_index"])
        return args

    options = {"patches": {"double_block": [patch]}}
    given = {"context": torch.zeros(1, 12, transformers.CONTEXT), "num_tokens": 12, "guidance": torch.zeros(1)}
    latent, time = transformers.latent(patched, 64, 64), torch.full((1,), 0.5)
    with torch.no_grad():
        return patched.model.diffusion_model(latent, time, control=control, transformer_options=options, **given)
