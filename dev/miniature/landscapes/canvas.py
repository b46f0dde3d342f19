"""The picture in the making: colours and, for every pixel, which part of which layer is in front."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Things that are drawn, with the class of COCO-Stuff that a segmentation gives them, and the outline they share in a
# sketch: parts of one outline have no line between them.
PARTS: tuple[tuple[str, str, str], ...] = (
    ("sky", "sky-other", "sky"),
    ("orb", "sky-other", "orb"),
    ("cloud", "clouds", "cloud"),
    ("rock", "mountain", "rock"),
    ("snow cap", "snow", "snow cap"),
    ("hill", "hill", "hill"),
    ("snowy hill", "snow", "hill"),
    ("forest", "tree", "hill"),
    ("water", "water-other", "water"),
    ("grass", "grass", "ground"),
    ("snow", "snow", "ground"),
    ("road", "road", "road"),
    ("trunk", "tree", "trunk"),
    ("crown", "tree", "crown"),
    ("wall", "house", "wall"),
    ("side wall", "house", "side wall"),
    ("roof", "house", "roof"),
    ("door", "house", "door"),
    ("window", "house", "window"),
    ("hull", "boat", "hull"),
    ("sail", "boat", "sail"),
    ("body", "person", "body"),
    ("legs", "person", "legs"),
    ("head", "person", "head"),
)
PART = {name: number for number, (name, _, _) in enumerate(PARTS)}
SOFT = 2.5  # pixels over which an edge passes from one colour to the other
LAYER = 32  # region = layer * LAYER + part
# Layers from far to near, and how near each is, 0 to 1. Objects of a plane are a little nearer than its ground.
SKY, ORB, CLOUD, FAR_RANGE, NEAR_RANGE, HILLS, SHORE, WATER, BOAT, MIDDLE, ON_MIDDLE, NEAR, ON_NEAR, PERSON = (
    *(0, 1, 2, 5, 6, 7, 8, 10, 11, 12, 13, 17, 18, 20),
)
LAYERS = 21
DEPTH = (
    *(0.0, 0.0, 0.0, 0.0, 0.0, 0.16, 0.28, 0.40, 0.44, 0.44, 0.50, 0.56),
    *(0.64, 0.70, 0.70, 0.70, 0.70, 0.84, 0.92, 0.92, 1.0),
)


@dataclass
class Canvas:
    """A picture (B, 3, H, W) in [0, 1] and its regions (B, H, W), painted on in place.

    Attributes:
        rgb: The picture.
        region: layer * `LAYER` + part of what covers most of the pixel.
    """

    rgb: Tensor
    region: Tensor

    @classmethod
    def empty(cls, count: int, size: int, device: torch.device) -> Canvas:
        """Make a black canvas."""
        rgb = torch.zeros((count, 3, size, size), device=device)
        return cls(rgb, torch.zeros((count, size, size), dtype=torch.int16, device=device))

    @property
    def size(self) -> int:
        """Side of the picture in pixels."""
        return self.rgb.shape[-1]

    def axis(self) -> Tensor:
        """Return the middles of the pixels along a side, in shares of it; (size,)."""
        return (torch.arange(self.size, device=self.rgb.device) + 0.5) / self.size

    def cover(self, inside: Tensor) -> Tensor:
        """Turn distances in shares of the side, positive inside, into the covered share of each pixel."""
        return (inside * (self.size / SOFT) + 0.5).clamp_(0.0, 1.0)

    def fill(self, cover: Tensor, colour: Tensor, region: int | Tensor | None, rows: slice = slice(None)) -> None:
        """Paint a layer.

        Args:
            cover: (B, h, W) in [0, 1].
            colour: (B, 3, h or 1, W or 1).
            region: number, or (B, 1, 1) numbers; None where the layer is light and not a thing.
            rows: the h rows that it lies in.
        """
        view = self.rgb[:, :, rows]
        view.lerp_(colour.expand_as(view), cover[:, None].expand_as(view))
        if region is not None:
            there = self.region[:, rows]
            number = torch.as_tensor(region, dtype=torch.int16, device=there.device)
            there.copy_(torch.where(cover >= 0.5, number, there))

    def shadow(self, behind: Tensor, strength: float, reach: float, rows: slice = slice(None)) -> None:
        """Darken what lies behind an edge; `behind` (B, h, W) is the distance from it, negative inside."""
        dark = strength * torch.exp(-behind.clamp(min=0.0) / reach)
        self.rgb[:, :, rows] *= (1.0 - dark)[:, None]


@dataclass
class Sprites:
    """N small things drawn on patches of P × Q pixels, before they are pasted.

    Attributes:
        row: (N,) which picture each belongs to.
        left, top: (N,) long, the pixel where its patch begins; may lie outside of the picture.
        u, v: (N, P, Q) coordinates of the thing: v upwards from where it stands, in units of its size.
        scale: (N, 1, 1) pixels per unit.
        rgba: (N, 4, P, Q), colours already multiplied by the covered share.
        part: (N, P, Q) int16, -1 where nothing is.
        near: (N, P, Q) least distance in pixels to what is drawn; None where nothing casts a shadow.
    """

    row: Tensor
    left: Tensor
    top: Tensor
    u: Tensor
    v: Tensor
    scale: Tensor
    rgba: Tensor
    part: Tensor
    near: Tensor | None

    @classmethod
    def lay(
        cls, row: Tensor, spot: tuple[Tensor, Tensor], box: tuple[float, ...], sides: tuple[int, int], shadows: bool
    ) -> Sprites:
        """Lay empty patches.

        Args:
            row: (N,) which picture.
            spot: (N, 2) x and y in pixels of the point (0, 0), and (N,) pixels per unit.
            box: left, bottom, right, top of the thing in its own units.
            sides: P and Q.
            shadows: whether the things cast any.
        """
        (anchor, scale), (height, width) = spot, sides
        middle = scale.new_tensor(((box[0] + box[2]) / 2, -(box[1] + box[3]) / 2))
        corner = (anchor + middle * scale[:, None] - scale.new_tensor((width / 2, height / 2))).round().long()
        across, down = (torch.arange(side, device=row.device) + 0.5 for side in (width, height))
        u = (corner[:, 0, None] + across - anchor[:, :1]) / scale[:, None]
        v = -(corner[:, 1, None] + down - anchor[:, 1:]) / scale[:, None]
        shape = (len(row), height, width)
        rgba = torch.zeros((len(row), 4, height, width), device=row.device)
        part = torch.full(shape, -1, dtype=torch.int16, device=row.device)
        far = torch.full(shape, 1e3, device=row.device) if shadows else None
        u, v = u[:, None, :].expand(shape), v[:, :, None].expand(shape)
        return cls(row, corner[:, 0], corner[:, 1], u, v, scale[:, None, None], rgba, part, far)

    def stamp(self, distance: Tensor, colour: Tensor, part: str | None, opacity: Tensor | float = 1.0) -> None:
        """Draw a shape.

        Args:
            distance: (N, P, Q) in units, negative inside.
            colour: (N, 3) or (N, 3, P, Q).
            part: a name in `PARTS`; None for mere colour on what is there.
            opacity: a share, or (N, 1, 1).
        """
        pixels = distance * self.scale
        cover = (0.5 - pixels / SOFT).clamp_(0.0, 1.0) * opacity
        full = colour if colour.ndim == 4 else colour[:, :, None, None]
        if part is None:
            rgb = self.rgba[:, :3]
            rgb.lerp_(full * self.rgba[:, 3:], cover[:, None].expand_as(rgb))
            return
        opaque = torch.cat((full, torch.ones_like(full[:, :1])), dim=1)
        self.rgba.lerp_(opaque.expand_as(self.rgba), cover[:, None].expand_as(self.rgba))
        self.part.masked_fill_(cover >= 0.5, PART[part])
        if self.near is not None:
            self.near = torch.minimum(self.near, torch.where(cover.amax((1, 2), True) > 0, pixels, 1e3))

    def paste(self, canvas: Canvas, take: Tensor, layer: int, shadow: tuple[float, float]) -> None:
        """Paste some of the things, at most one on each picture.

        Args:
            canvas: where to.
            take: (K,) long, which.
            layer: number of their layer.
            shadow: strength, and reach in pixels, of what they cast on the picture.
        """
        size, (height, width) = canvas.size, self.u.shape[1:]
        across, down = (torch.arange(side, device=take.device) for side in (width, height))
        x, y = self.left[take, None, None] + across, self.top[take, None, None] + down[:, None]
        whole = len(take) == len(self.row)
        rgba, part = (values if whole else values[take] for values in (self.rgba, self.part))
        inside = (x >= 0) & (x < size) & (y >= 0) & (y < size)
        if self.near is not None:
            near = self.near if whole else self.near[take]
            dark = shadow[0] * torch.exp(-near.clamp(min=0.0) / shadow[1])
            cover = rgba[:, 3] + (1.0 - rgba[:, 3]) * dark
        else:
            cover = rgba[:, 3]
        patch = torch.nonzero((inside & (rgba[:, 0] + cover > 0)).flatten())[:, 0]
        row = self.row[take].index_select(0, patch // (height * width))
        place = (y * size + x).flatten().index_select(0, patch)
        clear = 1.0 - cover.flatten().index_select(0, patch)
        # Several times as quick as indexing with brackets.
        flat = canvas.rgb.view(-1)
        for channel in range(3):
            index = (row * 3 + channel) * (size * size) + place
            added = rgba[:, channel].flatten().index_select(0, patch)
            flat.scatter_(0, index, flat.index_select(0, index).mul_(clear).add_(added))
        region, index = canvas.region.view(-1), row * (size * size) + place
        drawn = part.flatten().index_select(0, patch)
        before = region.index_select(0, index)
        region.scatter_(0, index, torch.where(drawn >= 0, drawn + layer * LAYER, before))
