"""Exact condition images of painted scenes, by the pack's own annotators where it has one; (B, C, H, W) in [0, 1]."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ..host import PACK, load_pack
from .canvas import LAYER, PARTS
from .scene import Scenes
from .truth import depth_map

CELLS = 8  # of a palette, along each side
WOBBLE = 0.010  # how far a hand strays, as a share of the side
GAP = 0.16  # share of a line that a hand may leave out


def _annotator(name: str) -> ModuleType:
    load_pack()
    return importlib.import_module(f"{PACK}.annotators.{name}")


def sketch(region: Tensor, size: int, pen: Tensor | float = 1.5) -> Tensor:
    """Draw the outlines, white on black.

    Args:
        region: (B, H, W), painted at a size or at a multiple of it, which gives smooth lines.
        size: side of the sketch.
        pen: width of the lines in pixels of a 128 px sketch, 1 to 4; a number, or (B,).

    Returns:
        (B, 1, size, size).
    """
    outlines = {name: number for number, name in enumerate(dict.fromkeys(outline for *_, outline in PARTS))}
    table = torch.tensor([outlines[outline] for *_, outline in PARTS], device=region.device)
    number = region.long()
    ink = number // LAYER * LAYER + table[number % LAYER]
    across = functional.pad((ink[:, :, 1:] != ink[:, :, :-1]).float(), (0, 1))
    down = functional.pad((ink[:, 1:] != ink[:, :-1]).float(), (0, 0, 0, 1))
    edge = torch.maximum(across, down)[:, None]
    factor = region.shape[-1] // size
    width = torch.as_tensor(pen, device=region.device).expand(len(region)) * (region.shape[-1] / 128.0)
    width = width.round().clamp(min=1.0).long()
    out = torch.empty_like(edge)
    for pixels in width.unique().tolist():
        rows = width == pixels
        left = (pixels - 1) // 2
        padded = functional.pad(edge[rows], (left, pixels - 1 - left, left, pixels - 1 - left))
        out[rows] = functional.max_pool2d(padded, pixels, 1)
    return functional.avg_pool2d(out, factor) if factor > 1 else out


class Hand(NamedTuple):
    """How B sketches stray: displacement (B, 2, 9, 9) from -1 to 1, and what is missing (B, 1, 17, 17) from 0 to 1."""

    shift: Tensor
    missing: Tensor

    @classmethod
    def draw(cls, count: int, generator: torch.Generator, steady: float = 0.5) -> Hand:
        """Draw how some hands stray; a share of them is steady and leaves nothing out."""
        device = generator.device
        nervous = (torch.rand((count, 1, 1, 1), generator=generator, device=device) >= steady).float()
        shift = torch.rand((count, 2, 9, 9), generator=generator, device=device) * 2.0 - 1.0
        missing = torch.rand((count, 1, 17, 17), generator=generator, device=device)
        return cls(shift * nervous, 1.0 - (1.0 - missing) * nervous)


def by_hand(lines: Tensor, hand: Hand) -> Tensor:
    """Let lines (B, 1, H, W) wobble and miss pieces, as a hand draws them."""
    size = lines.shape[-2:]
    shift = functional.interpolate(hand.shift, size=size, mode="bicubic", align_corners=True).movedim(1, 3)
    straight = torch.eye(2, 3, device=lines.device).expand(len(lines), 2, 3)
    grid = functional.affine_grid(straight, list(lines.shape), align_corners=False) + 2.0 * WOBBLE * shift
    moved = functional.grid_sample(lines, grid, mode="bilinear", padding_mode="border", align_corners=False)
    there = functional.interpolate(hand.missing, size=size, mode="bicubic", align_corners=True)
    return moved * (there > GAP)


def depth(region: Tensor) -> Tensor:
    """Shade planes, nearer is brighter; (B, 3, H, W)."""
    return depth_map(region)[:, None].expand(-1, 3, -1, -1).contiguous()


def segmentation(region: Tensor) -> Tensor:
    """Colour each pixel by its class of COCO-Stuff; (B, 3, H, W)."""
    annotator = _annotator("segmentation")
    table = torch.tensor([annotator.label_id(name) for _, name, _ in PARTS], device=region.device)
    painted: Tensor = annotator.paint(table[region.long() % LAYER])
    return painted


def palette(picture: Tensor, sampling: str = "area") -> Tensor:
    """Reduce pictures (B, 3, H, W) to 8 × 8 colours."""
    cells: Tensor = _annotator("palette").palette(picture, picture.shape[-1] // CELLS, sampling)
    return cells


def canny(picture: Tensor) -> Tensor:
    """Find edges of pictures (B, 3, H, W); (B, 3, H, W)."""
    edges: Tensor = _annotator("canny").canny(picture)
    return edges


def pose(scenes: Scenes, size: int) -> Tensor:
    """Draw the person of each scene as OpenPose does, black where there is none; (B, 3, size, size)."""
    keypoints, drawing = _annotator("keypoints"), _annotator("pose")
    frames = []
    for there, joints in zip(scenes.person.there.tolist(), scenes.person.pixels(size).tolist(), strict=True):
        frames.append((keypoints.Person(tuple((x, y) for x, y in joints)),) if there else ())
    drawn: Tensor = drawing.draw_poses(keypoints.Poses((size, size), tuple(frames)), "openpose", max(1, size // 128))
    return drawn
