"""Tests of what a card adds: its memory, its precisions, its compiler. They run on the CPU too, where they can."""

from __future__ import annotations

from ..host.conftest import inside_comfyui, output

__all__ = ("inside_comfyui", "output")
