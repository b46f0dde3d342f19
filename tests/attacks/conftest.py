"""Attacks from outside: what ComfyUI hands over, what lies in its folders, and what a server sends."""

from ..host.conftest import inside_comfyui, models, output, places, published, sd, sdxl, weights

__all__ = ["inside_comfyui", "models", "output", "places", "published", "sd", "sdxl", "weights"]
