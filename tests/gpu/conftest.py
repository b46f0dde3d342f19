"""Tests of GPU memory, precisions and compilation. Where possible, they also run on the CPU."""

from __future__ import annotations

from ..host.conftest import inside_comfyui, output

__all__ = ("inside_comfyui", "output")
