"""Beside other packs: the published packs' protocols, written from what they do, in the real ComfyUI.

Each file holds the double of one pack, which says what of the pack's behaviour it stands for; none of their code is
here. Fixtures and tiny models are those of the tests inside ComfyUI.
"""

from __future__ import annotations

from ..host.conftest import inside_comfyui, models, sd, sdxl

__all__ = ["inside_comfyui", "models", "sd", "sdxl"]
