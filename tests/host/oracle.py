"""Oracles, which compute expected results without the pack, and probes, which observe it from outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

# Blocks where the paper's code adds the features, fine to coarse, in ComfyUI's numbering.
SITES: dict[str, tuple[tuple[str, int], ...]] = {
    "SD": (("input", 2), ("input", 5), ("input", 8), ("input", 11)),
    "SDXL": (("input", 3), ("input", 5), ("input", 8), ("middle", 0)),
}


def reference_features(kind: str, weights: Mapping[str, torch.Tensor], image: torch.Tensor) -> list[torch.Tensor]:
    """A full adapter's forward, written out from the paper with diffusers' rounding up of odd sizes.

    `image` is an IMAGE (B, H, W, C) of the picture's size; edges are repeated up to whole cells.
    """
    cell, shrinking = (16, (2,)) if kind == "SDXL" else (8, (1, 2, 3))
    # ComfyUI's IMAGE in the layout that a view of it has; convolutions round by layout.
    x = image.movedim(-1, 1)
    x = functional.pad(x, (0, -x.shape[-1] % cell, 0, -x.shape[-2] % cell), mode="replicate")

    def convolve(x: torch.Tensor, name: str) -> torch.Tensor:
        weight = weights[f"{name}.weight"]
        return functional.conv2d(x, weight, weights[f"{name}.bias"], padding=weight.shape[-1] // 2)

    x = convolve(functional.pixel_unshuffle(x, cell), "conv_in")
    levels = []
    for level in range(4):
        for block in (f"body.{2 * level}", f"body.{2 * level + 1}"):
            if level in shrinking and block.endswith(str(2 * level)):
                x = functional.avg_pool2d(x, 2, 2, ceil_mode=True)
            if f"{block}.in_conv.weight" in weights:
                x = convolve(x, f"{block}.in_conv")
            x = x + convolve(convolve(x, f"{block}.block1").relu(), f"{block}.block2")
        levels.append(x)
    return levels


def inject(patched: Any, kind: str, levels: Callable[[int, torch.Tensor, dict[str, Any]], torch.Tensor | None]) -> Any:
    """A clone of a MODEL with plain patches that add `levels(level, h, transformer_options)` at each site."""
    clone = patched.clone()
    sites = {site: level for level, site in enumerate(SITES[kind])}

    def add(h: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        level = sites.get(options["block"])
        extra = None if level is None else levels(level, h, options)
        return h if extra is None else h + extra.to(h.device)  # what a test computed lies on the CPU

    clone.set_model_input_block_patch(add)
    clone.set_model_middle_block_after_patch(lambda args: {"h": add(args["h"], args["transformer_options"])})
    return clone


def inject_features(patched: Any, kind: str, features: list[torch.Tensor]) -> Any:
    """A clone that gets fixed features (1, C, h, w), or (B, C, h, w) for a batch of B, in each prompt of a call."""

    def rows(level: int, h: torch.Tensor, _: dict[str, Any]) -> torch.Tensor:
        return features[level].repeat(h.shape[0] // features[level].shape[0], 1, 1, 1)

    return inject(patched, kind, rows)


def spied(patched: Any, see: Callable[[torch.Tensor, dict[str, Any]], None]) -> Any:
    """A clone that shows `see(h, transformer_options)` the first input block of each call of the UNet."""
    clone = patched.clone()

    def look(h: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        if options["block"] == ("input", 0):
            see(h, options)
        return h

    clone.set_model_input_block_patch(look)
    return clone


def residuals_of(options: Mapping[str, Any]) -> Mapping[tuple[str, int], torch.Tensor]:
    """What the patches add in a call of the UNet with these `transformer_options`, by site."""
    from t2i_adapter_pack.nodes.sampling.options import adapter_options

    found: Mapping[tuple[str, int], torch.Tensor] | None = adapter_options(options).residuals
    assert found is not None
    return found


def chunks_of_calls(patched: Any, run: Callable[[Any], Any]) -> list[list[int]]:
    """`cond_or_uncond` of each call of the UNet in a run."""
    calls: list[list[int]] = []
    run(spied(patched, lambda _, options: calls.append(list(options["cond_or_uncond"]))))
    return calls


def split_calls(monkeypatch: Any, fits: Callable[[int], bool]) -> None:
    """Let ComfyUI see enough memory for `fits(calls so far)` prompts per call, or else for one."""
    import comfy.model_base
    import comfy.model_patcher

    asked = [0]

    def free_memory(self: Any, device: Any) -> float:
        asked[0] += 1
        return 1e30 if fits(asked[0]) else 0.0

    monkeypatch.setattr(comfy.model_patcher.ModelPatcher, "get_free_memory", free_memory)


class Operations(TorchDispatchMode):
    """Records the pack's operations that are not views, and those that allocate; without those of ComfyUI's code."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.allocated: list[str] = []
        self.inside = False

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if self.inside:
            storages = [tensor.untyped_storage().data_ptr() for tensor in args if isinstance(tensor, torch.Tensor)]
            name = str(function)
            self.names += [] if function.is_view else [name]
            fresh = isinstance(result, torch.Tensor) and result.untyped_storage().data_ptr() not in storages
            self.allocated += [name] if fresh else []
        return result

    def watch(self, monkeypatch: Any, owner: Any, name: str) -> None:
        """Record a method's operations, except in the ComfyUI function that is its first argument."""
        original = getattr(owner, name)

        def watched(itself: Any, first: Any, *args: Any, **kwargs: Any) -> Any:
            def outside(*inner: Any, **named: Any) -> Any:
                self.inside = False
                result = first(*inner, **named)
                self.inside = True
                return result

            if hasattr(first, "class_obj"):
                outside.class_obj = first.class_obj
            self.inside = True
            result = original(itself, outside if callable(first) else first, *args, **kwargs)
            self.inside = False
            return result

        monkeypatch.setattr(owner, name, watched)
