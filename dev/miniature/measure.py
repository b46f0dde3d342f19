"""How well pictures follow their scene: pure functions on (B, H, W, 3) pictures, and the table of `miniature measure`.

Every measure returns one number per scene, (B,). Pictures are in [0, 1], 128×128 unless stated otherwise.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch.nn import functional

from .conditions import CELLS
from .host import measures
from .scenes import HELD_OUT, KINDS, RGB, SIZE, SLOTS, Scenes, distance, distances, draw_scenes, labels, paint

PRESENT = 64  # pixels from which a colour counts as present: a tenth of the smallest shape
MATCH = 0.5  # minimum overlap with a template for a patch to count as a shape
_GRID = 64
_SIZES = (18.0, 21.0, 24.0, 27.0, 30.0, 33.0, 36.0, 39.0, 42.0)
_TURNS = (-0.28, -0.14, 0.0, 0.14, 0.28)


def held_out(count: int, start: int = 0) -> Scenes:
    """Return held-out scenes `start` to `start + count`, on which no part was trained."""
    return draw_scenes(torch.arange(HELD_OUT + start, HELD_OUT + start + count))


def truth(scenes: Scenes) -> torch.Tensor:
    """Paint scenes as pictures (B, 128, 128, 3)."""
    return paint(scenes, distances(scenes)).permute(0, 2, 3, 1).contiguous()


def nearest(images: torch.Tensor) -> torch.Tensor:
    """Return the index of the nearest of the eight colours for each pixel; (B, H, W, 3) -> (B, H, W) long."""
    table = torch.tensor(RGB, device=images.device)
    return torch.cdist(images[..., :3].flatten(1, 2).float(), table).argmin(dim=2).view(images.shape[:3])


def silhouette_iou(images: torch.Tensor, scenes: Scenes) -> torch.Tensor:
    """Return the overlap of the foreground with the scene's shapes; (B,)."""
    shown = nearest(images) != scenes.background[:, None, None]
    return measures("overlap").mask_iou(shown, labels(distances(scenes, images.shape[1])) > 0)


def shape_iou(images: torch.Tensor, scenes: Scenes) -> torch.Tensor:
    """Return the overlap of each shape's colour with its visible part, mean over the scene's shapes; (B,)."""
    shown, front = nearest(images), labels(distances(scenes, images.shape[1]))
    mask_iou = measures("overlap").mask_iou
    total = torch.zeros(len(scenes), device=images.device)
    for slot in range(SLOTS):
        overlap = mask_iou(shown == scenes.colour[:, slot, None, None], front == slot + 1)
        total += torch.where(slot < scenes.count, overlap, 0.0)
    return total / scenes.count


def palette_l1(images: torch.Tensor, scenes: Scenes, cells: int = CELLS) -> torch.Tensor:
    """Mean absolute difference of the means of `cells` × `cells` blocks; (B,)."""
    picture, wanted = (each[..., :3].permute(0, 3, 1, 2).float() for each in (images, truth(scenes)))
    return measures("colours").palette_l1(picture, wanted, (cells, cells))


def colours_present(images: torch.Tensor, scenes: Scenes) -> torch.Tensor:
    """Return the share of requested colours, including the background's, that are in the picture; (B,)."""
    shown = nearest(images).flatten(1)
    found = ((shown == scenes.background[:, None]).sum(dim=1) >= PRESENT).float()
    for slot in range(SLOTS):
        there = (shown == scenes.colour[:, slot, None]).sum(dim=1) >= PRESENT
        found += torch.where(slot < scenes.count, there.float(), 0.0)
    return found / (scenes.count + 1)


def _templates() -> torch.Tensor:
    """Draw every kind at every size and angle, centred in a small grid; (kinds, sizes × angles, 64, 64)."""
    grid = torch.cartesian_prod(torch.arange(len(KINDS)).float(), torch.tensor(_SIZES), torch.tensor(_TURNS))
    centre = torch.full((len(grid), 2), SIZE / 2.0)
    inside = distance(grid[:, 0].long(), centre, grid[:, 1], grid[:, 2], _GRID) < 0
    return inside.float().view(len(KINDS), -1, _GRID, _GRID)


def _best_kind(patch: torch.Tensor, unseen: torch.Tensor, spectrum: torch.Tensor) -> tuple[int, float]:
    """Find the kind whose template overlaps a patch best, at any position.

    Args:
        patch: (64, 64) 0 or 1.
        unseen: (64, 64) 1 where another requested colour may cover this shape; these pixels are ignored.
        spectrum: conjugate transforms of `_templates`.

    Returns:
        Row in `KINDS`, overlap (IoU).
    """
    both, room = torch.fft.irfft2(
        torch.fft.rfft2(torch.stack((patch, 1.0 - unseen)))[:, None, None] * spectrum, s=(_GRID, _GRID)
    )
    overlap = both / (patch.sum() + room - both).clamp(min=1.0)
    best = overlap.flatten(1).amax(dim=1)
    return int(best.argmax()), float(best.max())


def binding(images: torch.Tensor, scenes: Scenes) -> torch.Tensor:
    """Return the share of the scene's shapes that have their own colour, at any position; (B,).

    The patch of each requested colour is matched with templates of every kind, size and angle; the best match must be
    the requested kind.
    """
    spectrum = torch.fft.rfft2(_templates()).conj()
    shown = nearest(functional.adaptive_avg_pool2d(images[..., :3].permute(0, 3, 1, 2).float(), _GRID).movedim(1, 3))
    out = torch.zeros(len(scenes))
    for row, count in enumerate(scenes.count.tolist()):
        patches = [(shown[row] == scenes.colour[row, slot]).float() for slot in range(count)]
        for slot, patch in enumerate(patches):
            kind, overlap = _best_kind(patch, sum(patches) - patch, spectrum)
            out[row] += float(overlap >= MATCH and kind == int(scenes.kind[row, slot])) / count
    return out


def main(argv: list[str]) -> None:
    """Print the table of measures of a folder of weights, with pictures from the real ComfyUI."""
    parser = argparse.ArgumentParser(prog="miniature measure", description="Measure the miniature in ComfyUI.")
    parser.add_argument("--comfyui", help="ComfyUI's folder; default: the variable COMFYUI_PATH")
    parser.add_argument("--world", choices=("shapes", "landscapes"), default="shapes", help="what the pictures show")
    parser.add_argument("--weights", type=Path, help="folder of the files; default: the world's own")
    parser.add_argument("--work", type=Path, help="landscapes: folder with the judge; default: .miniature/landscapes")
    parser.add_argument("--scenes", type=int, default=128, help="number of held-out scenes")
    options = parser.parse_args(argv)
    if options.world == "landscapes":
        from .landscapes import measure

        measure.run(options)
        return
    from .generate import Studio

    studio = Studio(options.comfyui, options.weights or Path(__file__).resolve().parent / "weights")
    scenes = held_out(options.scenes)
    columns = {
        "silhouette IoU": silhouette_iou,
        "shape IoU": shape_iou,
        "palette L1": palette_l1,
        "colours present": colours_present,
        "bound": binding,
    }
    print("| | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for name, images in studio.rows(scenes):
        values = (f"{float(score(images, scenes).mean()):.3f}" for score in columns.values())
        print(f"| {name} | " + " | ".join(values) + " |", flush=True)
