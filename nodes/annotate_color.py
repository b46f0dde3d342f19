"""T2I Color Palette."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from ..annotators.images import check_images
from ..annotators.palette import PALETTE_CELL, SAMPLINGS, palette
from . import host
from .annotation.picture_size import fit_image, likely_palette, picture_size, size_inputs
from .annotation.pictures import ANNOTATOR_CATEGORY, annotate, image_input, image_output, resolution_input, to_planes
from .inputs import checked
from .search_words import search_words

_WHERE = "T2I Color Palette"


class T2IAnnotateColor(io.ComfyNode):
    """Reduce an image to cells of one colour each."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="T2IAnnotateColor",
            display_name=_WHERE,
            category=ANNOTATOR_CATEGORY,
            has_intermediate_output=True,
            description="An image's colours in cells of 64 pixels of the picture being made, pixel for pixel as color "
            "adapters were trained: connect that picture's latent. Needs no weights.",
            search_aliases=search_words(
                "T2IAnnotateColor", "color", "colour", "palette", "spatial palette", "pixelate", "mosaic"
            ),
            inputs=[
                image_input(),
                resolution_input(" Leave it at 0: cells would change their size with it."),
                io.Int.Input(
                    "cell",
                    default=PALETTE_CELL,
                    min=1,
                    max=1024,
                    tooltip="Side of a cell in pixels, from the left top corner. 64 (default) is as trained; smaller "
                    "cells follow the picture more closely. 1 to 1024.",
                ),
                io.Combo.Input(
                    "sampling",
                    options=[row.name for row in SAMPLINGS],
                    default=SAMPLINGS[0].name,
                    tooltip="as trained (default): the colour at a cell's centre. area: its mean, calmer. median: its "
                    "most typical colour, without mixing.",
                ),
                *size_inputs("cells have their size there, and the result is cropped to it."),
            ],
            outputs=[image_output("Cells of one colour each, as large as the picture being made, or as the image.")],
        )

    @classmethod
    @checked
    def execute(
        cls,
        image: torch.Tensor,
        resolution: int = 0,
        cell: int = PALETTE_CELL,
        sampling: str = SAMPLINGS[0].name,
        width: int = 0,
        height: int = 0,
        latent: Any = None,
    ) -> io.NodeOutput:
        """Make the palette."""
        check_images(f"{_WHERE}, image", to_planes(image))
        size = picture_size(_WHERE, image, width, height, latent)
        if size is not None:
            image = fit_image(_WHERE, image, size)
        elif resolution == 0 and cell == PALETTE_CELL:
            resolution, advice = likely_palette(image)
            host.tell(f"Cells of {cell} pixels in {advice}", host.running_node() or None)
        return annotate(_WHERE, image, lambda part: palette(part, cell, sampling), resolution, "nearest")
