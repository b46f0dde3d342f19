"""Attacks from outside: what ComfyUI hands over, what lies in its folders, and what a server sends.

The ordinary test command tries some of each; with T2I_ATTACKS_LONG set to minutes, as `fuzz` does, all of them.
"""

from ..host.conftest import inside_comfyui, models, output, places, published, sd, sdxl, weights

__all__ = ["inside_comfyui", "models", "output", "places", "published", "sd", "sdxl", "weights"]
