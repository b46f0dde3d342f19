"""Attacks through untrusted input: values from ComfyUI, files in its folders, and responses of servers.

The ordinary test command tries some of each; if T2I_ATTACKS_LONG is set to minutes, as by `fuzz`, it tries all.
"""

from ..host.conftest import inside_comfyui, models, output, places, published, sd, sdxl, weights

__all__ = ["inside_comfyui", "models", "output", "places", "published", "sd", "sdxl", "weights"]
