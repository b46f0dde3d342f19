"""Compatibility with other packs, tested in the real ComfyUI with doubles written from observed behaviour.

Each file contains the double of one pack and describes the behaviour that it imitates; none of the packs' code is used.
Fixtures and tiny models are those of the tests inside ComfyUI.
"""

from __future__ import annotations

from ..host.conftest import inside_comfyui, models, sd, sdxl

__all__ = ["inside_comfyui", "models", "sd", "sdxl"]
