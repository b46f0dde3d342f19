"""Condition images from pictures, in plain torch: what the published adapters were trained with.

The names in ``__all__`` are the public API; see docs/libraries.md. Everything else may change between versions.
Here ``canny``, ``gray`` and ``palette`` are the functions; their modules' other names are imported from the modules,
as in ``from .canny import connect``.
"""

from .canny import canny
from .depth import normalize_depth
from .errors import AnnotatorError
from .gray import gray
from .keypoints import read_poses
from .palette import palette
from .pose import draw_poses
from .segmentation import label_colour, paint, paint_mask
from .sketch import clean_sketch
from .standalone import LoadedAnnotator, load_annotator

__all__ = [
    "AnnotatorError",
    "LoadedAnnotator",
    "canny",
    "clean_sketch",
    "draw_poses",
    "gray",
    "label_colour",
    "load_annotator",
    "normalize_depth",
    "paint",
    "paint_mask",
    "palette",
    "read_poses",
]
