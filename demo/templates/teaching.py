"""The workflow that trains an adapter."""

from typing import Any

from . import published
from .canvas import Canvas
from .parts import CONDITION, SEEN, checkpoint, note


def training(canvas: Canvas) -> None:
    """Pictures with captions in, an adapter out."""
    _explain_training(canvas)
    loaded = checkpoint(canvas, published.SD15)
    lesson: dict[str, Any] = {"size": "small", "image_channels": "1", "kind": "canny"}
    new = canvas.add("CreateT2IAdapter", model=loaded[0], **lesson)[0]
    canvas.column("Pictures and captions")
    given = canvas.add("LoadImageTextDataSetFromFolder", "Pictures and captions", folder="my_pictures")
    fitted = canvas.add("ImageScale", "One size", image=given[0], upscale_method="lanczos", crop="center")[0]
    latents = canvas.add("VAEEncode", pixels=fitted, vae=loaded[2])[0]
    words = canvas.add("CLIPTextEncode", "Captions", clip=loaded[1], text=given[1])[0]
    nothing = canvas.add("CLIPTextEncode", "No caption", clip=loaded[1], text="")[0]
    canvas.column(CONDITION)
    lines = canvas.add("T2IAnnotateCanny", image=fitted)[0]
    canvas.add("PreviewImage", SEEN, images=lines)
    canvas.column("Training")
    chances: dict[str, Any] = {"prompt_dropout": 0.5, "condition_dropout": 0.05}
    trained = canvas.add(
        "TrainT2IAdapter",
        model=loaded[0],
        adapter=new,
        latents=latents,
        images=lines,
        positive=words,
        empty=nothing,
        learning_rate=1e-4,
        **chances,
    )
    canvas.column("Result")
    canvas.add("SaveT2IAdapter", adapter=trained[0], filename_prefix="t2i_adapter/my_canny", dtype="fp16")
    canvas.add("LossGraphNode", "Loss", loss=trained[1])


def _explain_training(canvas: Canvas) -> None:
    note(
        canvas,
        "Teaches a new adapter from your pictures and their captions. Here the condition is Canny edges; any other way "
        "to make a condition image of a picture can take their place.",
        (published.SD15,),
        (
            "Make a folder `my_pictures` in ComfyUI's `input` folder. Put pictures into it, each with a text file "
            "of the same name: `one.png`, `one.txt`. Press `R` and choose it in **Pictures and captions**.",
            "Queue. A cancelled run goes on where it stopped when it is queued again.",
            "Move the file from `output/t2i_adapter` to `models/controlnet`, press `R`, and use it in the workflow "
            "*Canny edges*.",
        ),
        ("A handful of pictures takes hundreds of steps; an adapter for everything takes tens of thousands of steps on "
         "many thousands of pictures.",
         "`size` `small` or `tiny` of **Create T2I-Adapter** train quicker.",
         "With another condition change `kind`, and `image_channels` to 3 if it has colours."),
    )  # fmt: skip
