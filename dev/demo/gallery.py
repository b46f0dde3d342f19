"""Draw the contact sheets of docs/control.md: `python3 run.py gallery`.

The miniature draws its first held-out scenes in the real ComfyUI, in this process, with the pack's own nodes. Seeds are
fixed: the same machine draws the same sheets.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont

from ..miniature import generate, measure, prompts, scenes
from ..tasks import paths

SCENES = 4
CELL, GAP, HEAD = 160, 8, 28
INK, PAPER = (24, 24, 27), (255, 255, 255)
OUT = paths.ROOT / "docs" / "control"
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
Column = tuple[str, torch.Tensor]


@dataclass(frozen=True)
class Kit:
    """The model and the scenes of all sheets.

    Attributes:
        studio: The miniature in ComfyUI.
        drawn: The scenes.
    """

    studio: Any
    drawn: Any

    def hint(self, kind: str) -> torch.Tensor:
        """Return the exact conditions of the scenes, (B, H, W, 3)."""
        return generate.exact_hint(kind, self.drawn)  # type: ignore[no-any-return]

    def adapter(self, kind: str) -> Any:
        """Load an adapter of the miniature."""
        from ...nodes.load import LoadT2IAdapter

        return LoadT2IAdapter.execute(generate.adapter_file(kind))[0]

    def apply(self, model: Any, kind: str, **values: Any) -> Any:
        """Run Apply T2I-Adapter on a MODEL."""
        from ...nodes.apply import ApplyT2IAdapter

        return ApplyT2IAdapter.execute(model, self.adapter(kind), self.hint(kind), **values)[0]

    def draw(self, model: Any = None, *, colour_words: bool = True) -> torch.Tensor:
        """Draw every scene from its prompt with a MODEL, the bare one by default."""
        bare = self.studio.model
        self.studio.model = model or bare
        try:
            return self.studio.generate(self.drawn, colour_words=colour_words)  # type: ignore[no-any-return]
        finally:
            self.studio.model = bare

    def sketched(self, **values: Any) -> torch.Tensor:
        """Draw with the sketch adapter."""
        return self.draw(self.apply(self.studio.model, "sketch", **values))


def strengths(kit: Kit) -> list[Column]:
    """The sketch adapter at weights from 0 to 1.5."""
    return [("sketch", kit.hint("sketch")), *((f"{value:g}", kit.sketched(strength=value)) for value in STRENGTHS)]


def levels(kit: Kit) -> list[Column]:
    """Only the coarse levels, and only the fine ones."""
    from ...nodes.weights import T2IAdapterWeights

    names = ("uniform", "coarse only", "fine only")
    weights = {name: T2IAdapterWeights.execute({"preset": name})[0] for name in names}
    columns = [(name, kit.sketched(weights=weight)) for name, weight in weights.items()]
    return [("sketch", kit.hint("sketch")), ("no adapter", kit.draw()), *columns]


def times(kit: Kit) -> list[Column]:
    """Only one third of the steps each."""
    from ...nodes.weights import T2IAdapterSchedule

    def part(start: float, end: float) -> torch.Tensor:
        schedule = T2IAdapterSchedule.execute(start_percent=start, end_percent=end, unit="sampling steps")[0]
        return kit.sketched(weights=schedule)

    return [
        ("sketch", kit.hint("sketch")),
        ("no adapter", kit.draw()),
        ("first third", part(0.0, 1 / 3)),
        ("middle third", part(1 / 3, 2 / 3)),
        ("last third", part(2 / 3, 1.0)),
        ("first half", part(0.0, 0.5)),
        ("all steps", kit.sketched()),
    ]


def masks(kit: Kit) -> list[Column]:
    """A mask that restricts the adapter to the left half."""
    left = torch.zeros(1, scenes.SIZE, scenes.SIZE)
    left[:, :, : scenes.SIZE // 2] = 1.0
    seen = left[..., None].expand(SCENES, -1, -1, 3)
    return [
        ("sketch", kit.hint("sketch")),
        ("mask", seen),
        ("no adapter", kit.draw()),
        ("masked", kit.sketched(mask=left)),
        ("no mask", kit.sketched()),
    ]


def together(kit: Kit) -> list[Column]:
    """Sketch and colour, separate and together; the prompts name no colours."""
    bare = kit.studio.model
    sketch = kit.apply(bare, "sketch")
    drawn = {"sketch": sketch, "colour": kit.apply(bare, "color"), "both": kit.apply(sketch, "color")}
    columns = [(name, kit.draw(model, colour_words=False)) for name, model in drawn.items()]
    return [("sketch map", kit.hint("sketch")), ("colour map", kit.hint("color")), *columns]


def sides(kit: Kit) -> list[Column]:
    """Only the positive side of the guidance."""
    from ...nodes.weights import T2IAdapterWeights

    def one(positive: float, negative: float) -> torch.Tensor:
        return kit.sketched(weights=T2IAdapterWeights.execute(positive=positive, negative=negative)[0])

    return [
        ("sketch", kit.hint("sketch")),
        ("no adapter", kit.draw()),
        ("both sides", kit.sketched()),
        ("positive only", one(1.0, 0.0)),
        ("negative only", one(0.0, 1.0)),
    ]


def features(kit: Kit) -> list[Column]:
    """The sketch adapter's features of each sketch, level by level."""
    from ...nodes.info import PreviewT2IAdapterFeatures

    adapter, hints = kit.adapter("sketch"), kit.hint("sketch")
    maps = [PreviewT2IAdapterFeatures.execute(adapter, hint[None], scenes.SIZE, scenes.SIZE)[0] for hint in hints]
    levels_shown = torch.stack(maps, dim=1)
    return [("sketch", hints), *((f"level {number}", level) for number, level in enumerate(levels_shown, start=1))]


def regions(kit: Kit) -> list[Column]:
    """Two areas side by side, each with its own prompt and sketch."""
    nodes, side = kit.studio.nodes, scenes.SIZE
    hints = kit.hint("sketch")
    texts = prompts.texts(prompts.word_rows(kit.drawn))
    wide: list[torch.Tensor] = []
    bare: list[torch.Tensor] = []
    controlled: list[torch.Tensor] = []
    for row in range(0, SCENES - 1, 2):
        pair = (row, row + 1)
        wide.append(torch.cat([hints[number] for number in pair], dim=1))
        for used, into in ((False, bare), (True, controlled)):
            positive = [cond for place, number in enumerate(pair)
                        for cond in _region(kit, texts[number], place, hints[number] if used else None)]  # fmt: skip
            negative = nodes.CLIPTextEncode().encode(kit.studio.clip, "")[0]
            latent = nodes.EmptyLatentImage().generate(2 * side, side, 1)[0]
            sample = nodes.KSampler().sample
            made = sample(kit.studio.model, generate.SEED + row, generate.STEPS, generate.CFG, generate.SAMPLER,
                          generate.SCHEDULER, positive, negative, latent)[0]  # fmt: skip
            into.append(nodes.VAEDecode().decode(kit.studio.vae, made)[0][0].cpu())
    return [("two sketches", torch.stack(wide)), ("no adapter", torch.stack(bare)),
            ("each area its own", torch.stack(controlled))]  # fmt: skip


def _region(kit: Kit, text: str, place: int, hint: torch.Tensor | None) -> Any:
    from ...nodes.as_controlnet import T2IAdapterToControlNet

    nodes, side = kit.studio.nodes, scenes.SIZE
    positive = nodes.CLIPTextEncode().encode(kit.studio.clip, text)[0]
    positive = nodes.ConditioningSetArea().append(positive, side, side, place * side, 0, 1.0)[0]
    if hint is None:
        return positive
    whole = torch.zeros(1, side, 2 * side, 3)
    whole[:, :, place * side : (place + 1) * side] = hint
    net = T2IAdapterToControlNet.execute(kit.adapter("sketch"))[0]
    return nodes.ControlNetApplyAdvanced().apply_controlnet(positive, [], net, whole, 1.0, 0.0, 1.0)[0]


SHEETS: dict[str, Callable[[Kit], list[Column]]] = {
    "strengths": strengths,
    "levels": levels,
    "times": times,
    "masks": masks,
    "regions": regions,
    "together": together,
    "sides": sides,
    "features": features,
}


def sheet(columns: list[Column]) -> Image.Image:
    """Arrange pictures: one column per variant, labelled with its name, and one row per scene.

    Args:
        columns: Names and pictures (B, H, W, 3), all of one size.
    """
    rows, height, width = columns[0][1].shape[:3]
    cell = (CELL * width // height, CELL)
    made = Image.new("RGB", (GAP + len(columns) * (cell[0] + GAP), HEAD + rows * (cell[1] + GAP)), PAPER)
    pen = ImageDraw.Draw(made)
    for column, (name, pictures) in enumerate(columns):
        left = GAP + column * (cell[0] + GAP)
        pen.text((left + cell[0] // 2, HEAD // 2), name, INK, ImageFont.load_default(15), anchor="mm")
        for row, picture in enumerate(pictures):
            pixels = (picture.clamp(0, 1) * 255).round().byte().cpu().numpy()
            scaled = Image.fromarray(pixels).resize(cell, Image.Resampling.LANCZOS)
            made.paste(scaled, (left, HEAD + row * (cell[1] + GAP)))
    return made


def main(arguments: list[str]) -> int:
    """Draw the chosen sheets."""
    parser = argparse.ArgumentParser(prog="gallery", description="Draw the contact sheets of docs/control.md.")
    parser.add_argument("--only", action="append", choices=tuple(SHEETS), help="draw this one; can be repeated")
    parser.add_argument("--out", type=Path, default=OUT, help="folder (default: docs/control)")
    asked = parser.parse_args(arguments)
    generate.use_comfyui(os.environ.get("COMFYUI_PATH"))
    from comfy.cli_args import args

    args.base_directory = tempfile.mkdtemp(prefix="gallery-")
    torch.set_num_threads(1)
    kit = Kit(generate.Studio(os.environ.get("COMFYUI_PATH"), paths.WEIGHTS), measure.held_out(SCENES))
    asked.out.mkdir(parents=True, exist_ok=True)
    with torch.inference_mode():
        for name in asked.only or SHEETS:
            sheet(SHEETS[name](kit)).save(asked.out / f"{name}.jpg", quality=90)
            print(f"{asked.out / name}.jpg", flush=True)
    return 0
