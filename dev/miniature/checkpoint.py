"""The files: one checkpoint, which ComfyUI's loader reads with the companion, and adapters in the published layout."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from .prompts import TOKEN_IDS

UNET, TEXT, VAE = "model.diffusion_model.", "cond_stage_model.transformer.", "first_stage_model."
TOKENS = "cond_stage_model.token_ids"
CHECKPOINT = "miniature.safetensors"
SECOND = "second.safetensors"
# The pack's names of the conditions.
CONDITIONS = {"sketch": "sketch", "color": "color", "seg": "segmentation", "depth": "depth"}

State = dict[str, torch.Tensor]


def adapter_file(kind: str) -> str:
    """Return the file name of an adapter: `sketch`, `color`, `seg` or `depth`."""
    return f"t2iadapter_{kind}_miniature.safetensors"


def half(state: State) -> State:
    """Round weights to fp16; single numbers and whole numbers stay as they are."""
    return {
        key: (value.half() if value.is_floating_point() and value.ndim else value).cpu().contiguous()
        for key, value in state.items()
    }


def write(state: State, file: Path, metadata: dict[str, str] | None = None) -> None:
    """Save a state; an old file is replaced only when the new one is complete."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".tmp")
    save_file(state, fresh, metadata)
    fresh.replace(file)


def write_checkpoint(vae: State, denoiser: State, file: Path, token_ids: tuple[int, ...] = TOKEN_IDS) -> None:
    """Save everything but the adapters as one checkpoint.

    Args:
        vae: TAESD state, narrow, with `vae_scale` and `vae_shift` set.
        denoiser: `unet.*` and `text.*`.
        file: where to.
        token_ids: ids of the words that the text encoder knows, in the order of its rows.
    """
    state = {VAE + key: value for key, value in vae.items()}
    for name, prefix in (("unet.", UNET), ("text.", TEXT)):
        state |= {prefix + key.removeprefix(name): value for key, value in denoiser.items() if key.startswith(name)}
    state = half(state)
    state[TOKENS] = torch.tensor(token_ids, dtype=torch.int32)
    write(state, file)


def read_parts(file: Path) -> tuple[State, State]:
    """Read a checkpoint back as fp32 (vae, denoiser) states, in the layout `write_checkpoint` takes."""
    state = load_file(file)
    vae = {key.removeprefix(VAE): value.float() for key, value in state.items() if key.startswith(VAE)}
    denoiser = {"unet." + key.removeprefix(UNET): value for key, value in state.items() if key.startswith(UNET)}
    denoiser |= {"text." + key.removeprefix(TEXT): value for key, value in state.items() if key.startswith(TEXT)}
    return vae, {key: value.float() for key, value in denoiser.items()}
