"""Attacks from outside: what ComfyUI hands over, what lies in its folders, and what a server sends.

The ordinary test command tries some of each; with T2I_LONG_ATTACKS set, as `fuzz` does, all of them, and for an hour.
"""

from ..host.conftest import inside_comfyui, models, output, places, published, sd, sdxl, weights

LONG = "T2I_LONG_ATTACKS"

__all__ = ["LONG", "inside_comfyui", "models", "output", "places", "published", "sd", "sdxl", "weights"]
