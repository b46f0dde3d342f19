"""The groups of variants to compare, with the paper's statements and the claims to test."""

from __future__ import annotations

from dataclasses import dataclass

from .scores import BOUND, FRECHET, HALF_COLOUR, HALF_SILHOUETTE, PALETTE, PRESENT, SHAPE, SILHOUETTE, Measure
from .variants import THIRDS, WEIGHTS

CONTROL = (SILHOUETTE, SHAPE, PALETTE, PRESENT, BOUND, FRECHET)
INSIDE = (HALF_SILHOUETTE, HALF_COLOUR, BOUND, FRECHET)
# Margins for "as good": a small part of an adapter's effect.
CLOSE = 0.03
CLOSE_PALETTE = 0.01
CLOSE_FRECHET = 0.1


@dataclass(frozen=True)
class Claim:
    """A claim that one variant is better than another by a measure.

    Attributes:
        text: The claim in words.
        first: The variant that should be better.
        second: The one it is compared with.
        measure: The measure.
        margin: How much worse the first may be and still count as equally good; 0 if it must be better.
    """

    text: str
    first: str
    second: str
    measure: Measure
    margin: float = 0.0


@dataclass(frozen=True)
class Group:
    """A table and a contact sheet.

    Attributes:
        name: Name on the command line and of the sheet's file.
        title: Its heading.
        paper: The paper's statement, paraphrased.
        rows: Variants.
        claims: The claims to test.
        shown: Variants on the sheet.
        hints: Conditions on the sheet.
        columns: Measures in the table.
        note: A remark on the measurement, or empty.
    """

    name: str
    title: str
    paper: str
    rows: tuple[str, ...]
    claims: tuple[Claim, ...]
    shown: tuple[str, ...]
    hints: tuple[str, ...] = ("sketch",)
    columns: tuple[Measure, ...] = CONTROL
    note: str = ""


CEILING, NONE, COLOURLESS = "VAE round trip", "no adapter", "no adapter, no colour words"


def _thirds(kind: str) -> tuple[str, ...]:
    return tuple(f"{kind}, {name} third" for name, _ in THIRDS)


GROUPS = (
    Group(
        "weights",
        "Each adapter, weights 0.25 to 1.5",
        "With an adapter, pictures follow the condition without loss of quality (its FID and CLIP scores "
        "are better than those of earlier methods). A weight multiplies the features.",
        (CEILING, NONE, COLOURLESS,
         *(f"{kind} {weight:g}" for kind in ("sketch", "color", "seg") for weight in WEIGHTS)),
        (
            Claim("The sketch is followed", "sketch 1", NONE, SILHOUETTE),
            Claim("The palette is followed", "color 1", COLOURLESS, PALETTE),
            Claim("The segmentation is followed", "seg 1", NONE, SHAPE),
            Claim("Weight 1 controls more than 0.25", "sketch 1", "sketch 0.25", SILHOUETTE),
            Claim("Quality does not suffer from the sketch", "sketch 1", NONE, FRECHET, CLOSE_FRECHET),
            Claim("The prompt's colours stay with the sketch", "sketch 1", NONE, PRESENT, CLOSE),
        ),
        (NONE, "sketch 0.25", "sketch 1", "sketch 1.5", "color 1", "seg 1"),
        note="Prompts of the colour adapter name no colours, so its *colours present* refers to the palette's colours.",
    ),
    Group(
        "together",
        "Two adapters together, and against each other",
        "Several adapters can be added without further training, each with its weight.",
        (
            "sketch 1, no colour words",
            "color 1",
            *(f"sketch {a} + color {b}" for a, b in (("1", "1"), ("1", "0.5"), ("0.5", "1"), ("0.5", "0.5"))),
        ),
        (
            Claim("The colours come in", "sketch 1 + color 1", "sketch 1, no colour words", PALETTE),
            Claim("The outlines come in", "sketch 1 + color 1", "color 1", SILHOUETTE),
            Claim("The weights decide the outlines", "sketch 1 + color 0.5", "sketch 0.5 + color 1", SILHOUETTE),
            Claim("The weights decide the colours", "sketch 0.5 + color 1", "sketch 1 + color 0.5", PALETTE),
        ),
        ("sketch 1, no colour words", "color 1", "sketch 1 + color 1", "sketch 1 + color 0.5", "sketch 0.5 + color 1"),
        hints=("sketch", "color"),
        note="No prompt names a colour.",
    ),
    Group(
        "levels",
        "Levels",
        "Guidance at all four sizes is best; among fewer, the largest feature maps matter most.",
        (NONE, *(f"level {n} only" for n in (1, 2, 3, 4)), "levels 1 to 2", "levels 1 to 3", "sketch 1"),
        (
            Claim("Four levels control more than three", "sketch 1", "levels 1 to 3", SILHOUETTE),
            Claim("Four levels are of better quality than three", "sketch 1", "levels 1 to 3", FRECHET),
            Claim("Three control more than two", "levels 1 to 3", "levels 1 to 2", SILHOUETTE),
            Claim("Two control more than one", "levels 1 to 2", "level 1 only", SILHOUETTE),
            Claim("The largest alone controls more than the smallest alone", "level 1 only", "level 4 only",
                  SILHOUETTE),
        ),
        (NONE, *(f"level {n} only" for n in (1, 2, 3, 4)), "levels 1 to 2", "sketch 1"),
        note="Level 1 has the largest maps. The adapter was trained with all four levels and is used with fewer; the "
        "paper trained one for each choice. At 128 pixels, level 4 has only 2×2 cells.",
    ),
    Group(
        "place",
        "Encoder or decoder",
        "Adding features in the encoder only gave the best FID; the decoder, or both, gave a worse one.",
        (NONE, "sketch-base", "sketch-decoder", "sketch-both"),
        (
            Claim("The encoder is of better quality than the decoder", "sketch-base", "sketch-decoder", FRECHET),
            Claim("The encoder controls more than the decoder", "sketch-base", "sketch-decoder", SILHOUETTE),
            Claim("The encoder is of better quality than both", "sketch-base", "sketch-both", FRECHET),
            Claim("The encoder controls as much as both", "sketch-base", "sketch-both", SILHOUETTE, CLOSE),
        ),
        (NONE, "sketch-base", "sketch-decoder", "sketch-both"),
        note="Each adapter was trained for its place. In the decoder, the same four maps are added to the output of "
        "the first block of each size, the mirror of the encoder's last one.",
    ),
    Group(
        "time",
        "A third of the sampling steps alone",
        "The first third of the steps has most of the effect; the middle and the late part have little.",
        (NONE, *_thirds("sketch"), "sketch 1", COLOURLESS, *_thirds("color"), "color 1"),
        tuple(
            Claim(f"{kind}: the beginning controls more than the {other}", f"{kind}, beginning third",
                  f"{kind}, {other} third", by)
            for kind, by in (("sketch", SILHOUETTE), ("color", PALETTE))
            for other in ("middle", "end")
        ),
        (*_thirds("sketch"), *_thirds("color")),
        hints=("sketch", "color"),
    ),
    Group(
        "timesteps",
        "Timesteps of training: cubic, uniform, late",
        "Cubic sampling, which favours the noisy beginning, gives stronger guidance than uniform, especially for "
        "colour. *Late* (the noisier half alone) is the authors' later advice for colour.",
        (COLOURLESS, "color-cubic", "color-uniform", "color-late"),
        (
            Claim("Cubic controls more than uniform", "color-cubic", "color-uniform", PALETTE),
            Claim("Late controls more than uniform", "color-late", "color-uniform", PALETTE),
            Claim("Late controls more than cubic", "color-late", "color-cubic", PALETTE),
            Claim("Cubic is of better quality than uniform", "color-cubic", "color-uniform", FRECHET),
        ),
        (COLOURLESS, "color-cubic", "color-uniform", "color-late"),
        hints=("color",),
    ),
    Group(
        "sizes",
        "Base, small, tiny",
        "Conditions are sparse, so smaller adapters do nearly as well.",
        (NONE, "sketch-base", "sketch-small", "sketch-tiny"),
        (
            Claim("Small follows about as well", "sketch-small", "sketch-base", SILHOUETTE, CLOSE),
            Claim("Tiny follows about as well", "sketch-tiny", "sketch-base", SILHOUETTE, CLOSE),
            Claim("Tiny is about as good", "sketch-tiny", "sketch-base", FRECHET, CLOSE_FRECHET),
        ),
        (NONE, "sketch-base", "sketch-small", "sketch-tiny"),
    ),
    Group(
        "second",
        "The same adapters on a second UNet",
        "An adapter works on every model fine-tuned from the one it was trained on.",
        (
            "second UNet, no adapter",
            "second UNet, no adapter, no colour words",
            *(name for kind in ("sketch", "color", "seg") for name in (f"{kind} 1", f"second UNet, {kind} 1")),
        ),
        (
            Claim("The sketch is followed there", "second UNet, sketch 1", "second UNet, no adapter", SILHOUETTE),
            Claim("The palette is followed there", "second UNet, color 1",
                  "second UNet, no adapter, no colour words", PALETTE),
            Claim("The sketch as well as on its own model", "second UNet, sketch 1", "sketch 1", SILHOUETTE, CLOSE),
            Claim("The palette as well as on its own model", "second UNet, color 1", "color 1", PALETTE,
                  CLOSE_PALETTE),
            Claim("The segmentation as well as on its own model", "second UNet, seg 1", "seg 1", SHAPE, CLOSE),
        ),
        ("second UNet, no adapter", "sketch 1", "second UNet, sketch 1", "color 1", "second UNet, color 1"),
        note="The second UNet is the miniature's, fine-tuned on plump shapes without tips by "
        "`miniature train --only second`. Such a scene covers 0.94 of the original scene's silhouette.",
    ),
    Group(
        "inpainting",
        "Inpainting with and without the adapter",
        "Inpainting by the prompt alone is poor; with a sketch it fills in the requested content.",
        ("inpainting, no adapter", "inpainting, sketch 1"),
        (
            Claim("The sketch is followed in the mask", "inpainting, sketch 1", "inpainting, no adapter",
                  HALF_SILHOUETTE),
            Claim("More of the mask has the right colour", "inpainting, sketch 1", "inpainting, no adapter",
                  HALF_COLOUR),
            Claim("Quality is better", "inpainting, sketch 1", "inpainting, no adapter", FRECHET),
        ),
        ("inpainting, no adapter", "inpainting, sketch 1"),
        columns=INSIDE,
        note="The right half of the true picture is inpainted (VAE Encode, Set Latent Noise Mask).",
    ),
)  # fmt: skip
