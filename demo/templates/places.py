"""The workflows about where and when an adapter acts: regions, levels and steps, inpainting, frames."""

from typing import Any

from . import published
from .canvas import Canvas, Output
from .conditions import picture, seen
from .parts import (
    CONDITION,
    CONTROL,
    NEGATIVE,
    PICTURE,
    SD,
    UNWANTED,
    Sampling,
    checkpoint,
    draw,
    empty,
    load_adapter,
    note,
    one_adapter,
    prompts,
    save,
)

SIDE = 512
TWO_SIDES = Sampling(width=2 * SIDE, height=SIDE)
# Side, its prompt, and how closely it follows the drawing.
SIDES = (
    ("Left", "a medieval castle, autumn, oil painting", 1.0),
    ("Right", "a modern glass tower, blue sky, oil painting", 0.8),
)


def regions(canvas: Canvas) -> None:
    """A prompt and a strength for each half."""
    note(
        canvas,
        "Each half of a wide picture has its own prompt, and its own strength of the same adapter.",
        (published.SD15, published.SKETCH),
        (
            "**Drawing**: choose a drawing twice as wide as high.",
            "Write a prompt for each side. **Area** says where it holds.",
            "Set `strength` and the range of each **Apply ControlNet**, and queue.",
        ),
        ("A drawing of its own for each side: load another one for the right.",
         "**Conditioning (Set Mask)** in the place of the areas takes any shape.",
         "For one prompt and several shapes use `mask` of **Apply T2I-Adapter**."),
    )  # fmt: skip
    loaded = checkpoint(canvas, published.SD15)
    net = canvas.add("T2IAdapterToControlNet", adapter=load_adapter(canvas, published.SKETCH))[0]
    lines = canvas.add("T2ICleanSketch", image=picture(canvas, "Drawing", "wide_drawing.png"), mode="line art")[0]
    hint = seen(canvas, lines)
    negative = canvas.add("CLIPTextEncode", NEGATIVE, clip=loaded[1], text=UNWANTED)[0]
    controlled = []
    for place, (side, text, strength) in enumerate(SIDES):
        canvas.column(side)
        words = canvas.add("CLIPTextEncode", f"{side} prompt", clip=loaded[1], text=text)[0]
        area: dict[str, Any] = {"width": SIDE, "height": SIDE, "x": place * SIDE, "y": 0}
        there = canvas.add("ConditioningSetArea", f"{side} area", conditioning=words, **area)[0]
        control: dict[str, Any] = {"control_net": net, "image": hint, "strength": strength}
        controlled.append(
            canvas.add("ControlNetApplyAdvanced", f"{side} control", positive=there, negative=negative, **control)
        )
    latent = empty(canvas, TWO_SIDES)
    both = canvas.add("ConditioningCombine", conditioning_1=controlled[0][0], conditioning_2=controlled[1][0])[0]
    texts = (both, controlled[0][1])
    save(canvas, draw(canvas, loaded[0], texts, latent, loaded[2], TWO_SIDES), "regions")


def schedule(canvas: Canvas) -> None:
    """Strength over time and over scales."""
    note(
        canvas,
        "The adapter decides the composition, then lets go: strong at first and then fading, softer on fine details.",
        (published.SD15, published.SKETCH),
        (
            "**Drawing**: choose a drawing.",
            "**T2I-Adapter Level Weights**: a number for each of the four scales, fine to coarse. The presets: `soft` "
            "lets the prompt come first, `coarse only` keeps the composition alone.",
            "**T2I-Adapter Schedule**: from which strength to which, and between which parts of the run.",
            "Queue, change, compare.",
        ),
        ("The first third of the steps decides the composition.",
         "`positive` 1 and `negative` 0 make the adapter count more.",
         "A drawn curve: connect **Curve Editor** to `curve`."),
    )  # fmt: skip
    loaded = checkpoint(canvas, published.SD15)
    adapter = load_adapter(canvas, published.SKETCH)
    lines = canvas.add("T2ICleanSketch", image=picture(canvas, "Drawing"), mode="line art")[0]
    hint = seen(canvas, lines)
    canvas.column("Levels and time")
    softer: dict[str, Any] = {"preset": "custom", "preset.level_1": 0.7, "preset.level_2": 0.85}
    levels = canvas.add("T2IAdapterWeights", **softer)[0]
    fading: dict[str, Any] = {"end_strength": 0.2, "interpolation": "ease in", "unit": "sampling steps"}
    weights = canvas.add("T2IAdapterSchedule", weights=levels, **fading)[0]
    one_adapter(canvas, loaded, hint, adapter, "a fox in a forest, watercolour, soft light", weights=weights)


def inpainting(canvas: Canvas) -> None:
    """A part of a picture anew, in the same shape."""
    note(
        canvas,
        "What you mask is drawn anew, and keeps its shape: other stuff, other colours, the same outline.",
        (published.SD15, published.CANNY),
        (
            "**Picture with a mask**: choose a picture of about 512 pixels, right-click it, *Open in Mask Editor*, and "
            "paint over what shall change, with a little room around it.",
            "Write what the whole picture shows into **Prompt**, with the new thing in it, and queue.",
        ),
        ("Something of another shape: load a drawing of it in the place of the edges.",
         "Inpainting checkpoints: put **VAE Encode (for Inpainting)** in the place of the last two nodes before the "
         "sampler."),
    )  # fmt: skip
    loaded = checkpoint(canvas, published.SD15)
    adapter = load_adapter(canvas, published.CANNY)
    canvas.column(CONDITION)
    given = canvas.add("LoadImage", "Picture with a mask", image="example.png")
    hint = seen(canvas, canvas.add("T2IAnnotateCanny", image=given[0])[0])
    canvas.column(CONTROL)
    model = canvas.add("ApplyT2IAdapter", model=loaded[0], adapter=adapter, image=hint, mask=given[1])[0]
    texts = prompts(canvas, loaded[1], "a golden statue in a garden, photograph")
    canvas.column(PICTURE)
    whole = canvas.add("VAEEncode", pixels=given[0], vae=loaded[2])[0]
    latent = canvas.add("SetLatentNoiseMask", samples=whole, mask=given[1])[0]
    save(canvas, draw(canvas, model, texts, latent, loaded[2]), "inpainting")


def frames(canvas: Canvas) -> None:
    """The frames of a video, one condition each."""
    note(
        canvas,
        "Every frame of a video gets its own edges, and all are drawn as one batch. The adapter runs once for each.",
        (published.SD15, published.CANNY),
        (
            "**Video**: choose a short one.",
            "`length` of **First frames** says how many are drawn: 16 at 512 pixels take about 8 GB.",
            "Write what it shows into **Prompt** and queue.",
        ),
        ("Frames differ in what the edges leave open. Put a motion model (AnimateDiff) between the checkpoint and "
         "**Apply T2I-Adapter** to hold them together: it slices conditions in step.",
         "A batch of pictures in the place of the video works alike."),
    )  # fmt: skip
    loaded = checkpoint(canvas, published.SD15)
    adapter = load_adapter(canvas, published.CANNY)
    canvas.column("Video")
    video = canvas.add("GetVideoComponents", video=canvas.add("LoadVideo", "Video", file="video.mp4")[0])
    fitted = canvas.add("ImageScale", image=video[0], upscale_method="lanczos", crop="center")[0]
    few = canvas.add("ImageFromBatch", "First frames", image=fitted, length=16)[0]
    canvas.column(CONDITION)
    hint = seen(canvas, canvas.add("T2IAnnotateCanny", image=few)[0])
    count = canvas.add("GetImageSize", "How many", image=hint)[2]
    canvas.column(CONTROL)
    model = canvas.add("ApplyT2IAdapter", model=loaded[0], adapter=adapter, image=hint)[0]
    texts = prompts(canvas, loaded[1], "a paper boat on a river, stop motion")
    canvas.column(PICTURE)
    latent = canvas.add("EmptyLatentImage", width=SD.width, height=SD.height, batch_size=count)[0]
    images = draw(canvas, model, texts, latent, loaded[2])
    canvas.column("Video again")
    canvas.add("PreviewImage", "Frames", images=images)
    made: Output = canvas.add("CreateVideo", images=images, fps=video[2])[0]
    canvas.add("SaveVideo", video=made, filename_prefix="t2i-adapter/frames")
