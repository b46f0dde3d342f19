"""The networks of controlnet_aux, without what its package imports besides (mediapipe, its own warnings)."""

import importlib
import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import torch


def module(name):
    """A module of controlnet_aux, such as `hed`."""
    if "controlnet_aux" not in sys.modules:
        # find_spec does not run the package's __init__; neither does a package that is only a folder.
        package = types.ModuleType("controlnet_aux")
        package.__path__ = [str(Path(importlib.util.find_spec("controlnet_aux").origin).parent)]
        sys.modules["controlnet_aux"] = package
    return importlib.import_module(f"controlnet_aux.{name}")


def pidinet():
    return module("pidi.model").pidinet().eval()


def hed():
    network = module("hed").ControlNetHED_Apache2().eval()
    network.norm.data += torch.tensor([124.0, 117.0, 104.0]).view(1, 3, 1, 1)
    return network


def lineart():
    return module("lineart").Generator(3, 1, 3).eval()


def pidinet_lines(network, images):
    return network(images)[-1]


def hed_lines(network, images):
    """What controlnet_aux does around its network: each map enlarged by OpenCV, their mean, its sigmoid."""
    import cv2

    height, width = images.shape[-2:]
    answers = []
    for image in images:
        maps = [side[0, 0].numpy() for side in network(image[None] * 255)]
        maps = [cv2.resize(side, (width, height), interpolation=cv2.INTER_LINEAR) for side in maps]
        answers.append(1 / (1 + np.exp(-np.mean(np.stack(maps), axis=0).astype(np.float64))))
    return torch.from_numpy(np.stack(answers)[:, None]).float()


def lineart_lines(network, images):
    """Sizes that are no multiple of 4 come out larger; controlnet_aux never asks for such."""
    height, width = images.shape[-2:]
    padded = torch.nn.functional.pad(images, (0, -width % 4, 0, -height % 4), mode="replicate")
    return 1 - network(padded)[..., :height, :width]
