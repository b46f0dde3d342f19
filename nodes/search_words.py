"""Words that people type into ComfyUI's search, in English, Chinese, Japanese and Korean.

The search reads a node's id, its name in the page's language, and its aliases, which have no translations. The words
lie in a file of their own: code must be readable on a Windows with a Western code page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

_GROUPS: Mapping[str, list[str]] = MappingProxyType(
    json.loads(Path(__file__).with_name("search_words.json").read_text(encoding="utf-8"))
)
# Groups of words by node id.
_SEARCH_GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "LoadT2IAdapter": (
            "adapter",
            "load",
        ),
        "ApplyT2IAdapter": (
            "adapter",
            "control",
            "apply",
        ),
        "T2IAdapterWeights": (
            "level weights",
            "strength",
        ),
        "T2IAdapterSchedule": ("strength",),
        "T2IAdapterToControlNet": ("control",),
        "ApplyT2IStyleAdapter": ("style",),
        "LoadT2IStyleAdapter": ("style",),
        "T2IAnnotateCanny": (
            "edges",
            "preprocessor",
        ),
        "T2IAnnotateSketch": (
            "sketch",
            "preprocessor",
        ),
        "T2IAnnotateSoftEdge": (
            "edges",
            "preprocessor",
        ),
        "T2ICleanSketch": (
            "sketch",
            "lines",
            "clean sketch",
        ),
        "T2IAnnotateLineart": (
            "lines",
            "preprocessor",
        ),
        "T2IAnnotateDepth": (
            "depth",
            "preprocessor",
        ),
        "T2INormalizeDepth": ("depth",),
        "T2IAnnotateColor": (
            "colours",
            "preprocessor",
        ),
        "T2IAnnotateSegmentation": (
            "segments",
            "preprocessor",
        ),
        "T2IPaintSegmentation": ("segments",),
        "T2IDetectPose": (
            "pose",
            "preprocessor",
        ),
        "T2IDrawPose": (
            "pose",
            "stick figure",
        ),
        "T2IAnnotateGray": ("gray",),
        "T2IAnnotateFor": ("preprocessor",),
        "TrainT2IAdapter": ("train",),
        "CreateT2IAdapter": ("train",),
        "SaveT2IAdapter": ("save",),
    }
)


def search_words(node_id: str, *own: str) -> list[str]:
    """Return a node's aliases without repetitions.

    Args:
        node_id: The node.
        own: Words for this node alone; they come first.
    """
    shared = (word for group in _SEARCH_GROUPS.get(node_id, ()) for word in _GROUPS[group])
    return list(dict.fromkeys((*own, *shared)))
