"""Labels of COCO-Stuff, by MaskFormer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import AnnotatorError
from ..images import check_images
from ..segmentation import paint
from .network_input import prepare_pixels
from .transformers_models import LoadedModel

_WHERE = "segmentation"
CLASSES = 182
# Ids of COCO-Stuff without a label in the data. Networks skip them when they count classes.
NEVER_LABELLED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)
IDS = tuple(number for number in range(1, CLASSES + 1) if number not in NEVER_LABELLED)


def segment(loaded: LoadedModel, images: Tensor) -> Tensor:
    """Label every pixel.

    Args:
        loaded: A network of the task ``labels``.
        images: (B, C, H, W) in [0, 1].

    Returns:
        (B, H, W), int64: ids of COCO-Stuff, 1 to 182.

    Raises:
        AnnotatorError: The input is not pictures, they are too large, or the network has another task.
    """
    if loaded.model.task != "labels":
        raise AnnotatorError(
            _WHERE,
            loaded.model.network,
            "a network for segmentation",
            "Choose another file.",
            says="This network does not segment pictures.",
        )
    images = check_images(_WHERE, images)
    ids = torch.tensor(IDS, device=images.device)
    # One by one: the scores of all classes at full size are most of the memory.
    return torch.cat([ids[_classes(loaded, image)] for image in images.split(1)])


def segmentation_picture(loaded: LoadedModel, images: Tensor) -> Tensor:
    """Label every pixel and paint the labels in the colours that the segmentation adapters were trained with.

    Args:
        loaded: A network of the task ``labels``.
        images: (B, C, H, W) in [0, 1].

    Returns:
        (B, 3, H, W), float32 in [0, 1].

    Raises:
        AnnotatorError: As :func:`segment`.
    """
    return paint(segment(loaded, images))


def _classes(loaded: LoadedModel, image: Tensor) -> Tensor:
    """(1, 3, H, W) -> (1, H, W): the number of the best class, from 0."""
    network: Any = loaded.network
    pixels = prepare_pixels(loaded.model, image).to(next(network.parameters()).dtype)
    answer = network(pixel_values=pixels)
    # The last class of each query is "nothing".
    classes = answer.class_queries_logits.to(torch.float32).softmax(-1)[..., :-1]
    masks = answer.masks_queries_logits.to(torch.float32).sigmoid()
    scores = torch.einsum("bqc,bqhw->bchw", classes, masks)
    return functional.interpolate(scores, size=image.shape[-2:], mode="bilinear").argmax(1)
