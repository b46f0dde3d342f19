"""The workflows in which an adapter has company: of a style, of another adapter, or of the CoAdapter fuser."""

from . import published
from .canvas import Canvas, ModelFile, Output
from .parts import (
    CONDITION,
    CONTROL,
    EXAMPLE,
    SEEN,
    checkpoint,
    draw,
    empty,
    load_adapter,
    note,
    prompts,
    save,
)

PALETTE = "Colours that the adapter sees"


def style(canvas: Canvas) -> None:
    """The style of a reference picture."""
    files = (published.SD15, published.STYLE, published.CLIP_VISION)
    note(
        canvas,
        "The picture takes colours, light and technique of a reference; what it shows is up to the prompt.",
        files,
        ("**Reference**: choose a picture whose style you like.", "Write what to draw into **Prompt** and queue."),
        ("Lower `strength` where the reference pushes the prompt aside.",
         "Add **Apply T2I-Adapter** between the checkpoint and the sampler to fix the composition too."),
    )  # fmt: skip
    loaded = checkpoint(canvas, published.SD15)
    adapter = canvas.add("LoadT2IStyleAdapter", style_name=published.STYLE.name, models=[published.STYLE])[0]
    vision = canvas.add("CLIPVisionLoader", clip_name=published.CLIP_VISION.name, models=[published.CLIP_VISION])[0]
    canvas.column("Reference")
    reference = canvas.add("LoadImage", "Reference", image=EXAMPLE)[0]
    looked = canvas.add("CLIPVisionEncode", clip_vision=vision, image=reference)[0]
    canvas.column("Style and prompts")
    positive, negative = prompts(canvas, loaded[1], "a lighthouse on a cliff")
    styled = canvas.add(
        "ApplyT2IStyleAdapter", conditioning=positive, style_adapter=adapter, clip_vision_output=looked
    )[0]
    latent = empty(canvas)
    save(canvas, draw(canvas, loaded[0], (styled, negative), latent, loaded[2]), "style")


def two(canvas: Canvas) -> None:
    """A sketch and a palette."""
    note(
        canvas,
        "One adapter gives the shapes, another the colours. More may follow: a step costs no more than with one.",
        (published.SD15, published.SKETCH, published.COLOUR),
        (
            "**Drawing**: choose a drawing; **Colours**: choose any picture.",
            "Look at what the adapters see.",
            "Write what it shows into **Prompt** and queue.",
        ),
        ("If one drowns the other, lower its `strength` before you raise the other's.",
         "**Combine T2I-Adapters** with `mean` behind the last one shares a strength of 1 between them."),
    )  # fmt: skip
    model, rest = sketched_and_coloured(canvas, published.SKETCH, published.COLOUR)
    texts = prompts(canvas, rest[0], "a harbour with fishing boats, gouache")
    latent = empty(canvas)
    save(canvas, draw(canvas, model, texts, latent, rest[1]), "two-adapters")


def coadapter(canvas: Canvas) -> None:
    """A sketch and a palette, balanced by the fuser."""
    files = (published.SD15, published.COADAPTER_SKETCH, published.COADAPTER_COLOUR, published.FUSER)
    note(
        canvas,
        "CoAdapters were trained together, with a fuser that balances them channel by channel.",
        files,
        (
            "**Drawing**: choose a drawing; **Colours**: choose any picture.",
            "Keep the published file names: from them the fuser knows which is which.",
            "Write what it shows into **Prompt** and queue.",
        ),
        ("Strengths between 0.5 and 1.5. If raising one does not help, lower the other.",
         "`method` `sum` shows what the fuser does.",
         "A style takes part through `positive` of **Combine T2I-Adapters**."),
    )  # fmt: skip
    model, rest = sketched_and_coloured(canvas, published.COADAPTER_SKETCH, published.COADAPTER_COLOUR)
    canvas.column("Fuser and prompts")
    fuser = canvas.add("LoadCoAdapterFuser", fuser_name=published.FUSER.name, models=[published.FUSER])[0]
    fused = canvas.add("CombineT2IAdapters", model=model, method="coadapter", fuser=fuser)[0]
    texts = prompts(canvas, rest[0], "a harbour with fishing boats, gouache")
    latent = empty(canvas)
    save(canvas, draw(canvas, fused, texts, latent, rest[1]), "coadapter")


def sketched_and_coloured(canvas: Canvas, sketch: ModelFile, colour: ModelFile) -> tuple[Output, tuple[Output, Output]]:
    """Apply a sketch and a palette.

    Returns:
        The model, and the checkpoint's CLIP and VAE.
    """
    loaded = checkpoint(canvas, published.SD15)
    adapters = (load_adapter(canvas, sketch, "Sketch adapter"), load_adapter(canvas, colour, "Colour adapter"))
    canvas.column(f"{CONDITION}: shapes")
    drawing = canvas.add("LoadImage", "Drawing", image=EXAMPLE)[0]
    lines = canvas.add("T2ICleanSketch", image=drawing, mode="line art")[0]
    canvas.add("PreviewImage", SEEN, images=lines)
    canvas.column(f"{CONDITION}: colours")
    palette = canvas.add("T2IAnnotateColor", image=canvas.add("LoadImage", "Colours", image=EXAMPLE)[0])[0]
    canvas.add("PreviewImage", PALETTE, images=palette)
    canvas.column(CONTROL)
    model = canvas.add("ApplyT2IAdapter", "Apply sketch", model=loaded[0], adapter=adapters[0], image=lines)[0]
    model = canvas.add("ApplyT2IAdapter", "Apply colours", model=model, adapter=adapters[1], image=palette)[0]
    return model, (loaded[1], loaded[2])
