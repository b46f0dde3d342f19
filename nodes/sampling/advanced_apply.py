"""The overrides that Advanced-ControlNet's Apply node sets on a CONTROL_NET: mask, keyframes and weights.

Only public attributes of its objects are read; nothing of that pack is imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ...adapter_models.errors import AdapterError

ADVANCED_APPLY = "Apply Advanced ControlNet with a T2I-Adapter"
# Types of weights that fit four levels; the others count a ControlNet's blocks.
_WEIGHT_TYPES = ("default", "universal", "t2iadapter")


@dataclass(frozen=True)
class Overrides:
    """The overrides of one Apply node.

    Attributes:
        mask: (M, H, W) in [0, 1], where the control acts; the last serves the remaining pictures.
        keyframes: Timestep keyframes in order, each with its start, strength, weights…
        pictures: Latent keyframes, each with the index of a picture and a strength; they replace a keyframe's own.
        weights: Weights; they replace a keyframe's own.
    """

    mask: Tensor | None = None
    keyframes: tuple[Any, ...] = ()
    pictures: Any = None
    weights: Any = None

    def check(self) -> None:
        """Refuse weights that do not fit an adapter's levels.

        Raises:
            AdapterError: They are for a ControlNet's blocks, or have a mask of their own.
        """
        own = [keyframe.control_weights for keyframe in self.keyframes]
        for weights in [self.weights] if self.weights is not None else own:
            if weights is None:
                continue
            if weights.weight_type not in _WEIGHT_TYPES or getattr(weights, "weight_mask", None) is not None:
                masked = "with a mask" if weights.weight_type in _WEIGHT_TYPES else f"of the kind {weights.weight_type}"
                raise AdapterError(
                    ADVANCED_APPLY,
                    f"weights {masked}",
                    f"weights of the kinds {', '.join(_WEIGHT_TYPES)} without a mask",
                    "Use T2IAdapter Custom Weights, or T2I-Adapter Level Weights at T2I-Adapter as ControlNet.",
                    says="These weights are for a ControlNet, and a T2I-Adapter can't follow them.",
                )


class AdvancedApply:
    """The attributes and methods through which that node sets overrides on a control with ``sub_idxs``."""

    # It needs no VAE, and takes pictures instead of latents.
    require_vae = allow_condhint_latents = postpone_condhint_latents_check = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.mask_cond_hint_original: Tensor | None = None
        self.timestep_keyframes: Any = None
        self.latent_keyframe_override: Any = None
        self.weights_override: Any = None

    @property
    def overrides(self) -> Overrides:
        """The overrides set so far."""
        keyframes = () if self.timestep_keyframes is None else tuple(self.timestep_keyframes.keyframes)
        return Overrides(self.mask_cond_hint_original, keyframes, self.latent_keyframe_override, self.weights_override)

    def set_cond_hint_mask(self, mask: Tensor) -> None:
        """Take a mask, (M, H, W) in [0, 1]."""
        self.mask_cond_hint_original = mask

    def set_timestep_keyframes(self, keyframes: Any) -> None:
        """Take keyframes over time."""
        self.timestep_keyframes = keyframes

    def verify_all_weights(self, throw_error: bool = True) -> None:
        """Refuse weights that an adapter can't follow; see :meth:`Overrides.check`."""
        if throw_error:
            self.overrides.check()

    def disarm(self) -> None:
        """Do nothing: the Apply node calls this to say that it took the control."""

    def take_overrides(self, other: AdvancedApply) -> None:
        """Copy the overrides of another control."""
        self.mask_cond_hint_original = other.mask_cond_hint_original
        self.timestep_keyframes = other.timestep_keyframes
        self.latent_keyframe_override = other.latent_keyframe_override
        self.weights_override = other.weights_override
