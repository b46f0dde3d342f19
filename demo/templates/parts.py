"""What most of the workflows have in common: their note, loaders, prompts, and the way to a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .canvas import Canvas, ModelFile, Output, Placed

MODELS, CONDITION, CONTROL, PICTURE = "Models", "Condition", "Adapter and prompts", "Picture"
PROMPT, NEGATIVE, SAVED = "Prompt", "Negative prompt", "Save"
SEEN = "What the adapter sees"
# The negative prompt of the authors' demo.
UNWANTED = (
    "longbody, lowres, bad anatomy, bad hands, missing fingers, extra digit, fewer digits, cropped, worst quality, "
    "low quality"
)
EXAMPLE = "example.png"  # lies in the input folder of a new ComfyUI


@dataclass(frozen=True)
class Sampling:
    """How a picture is drawn.

    Attributes:
        width: Pixels.
        height: Pixels.
        sampler: Name of the sampler.
        scheduler: Name of the scheduler.
        steps: How many.
        cfg: Guidance.
    """

    width: int = 512
    height: int = 512
    sampler: str = "dpmpp_2m"
    scheduler: str = "karras"
    steps: int = 25
    cfg: float = 7.5


SD = Sampling()


def note(canvas: Canvas, what: str, files: Sequence[ModelFile], steps: Sequence[str], more: Sequence[str] = ()) -> None:
    """Write the note: what this does, which files go where, what to do, what to try.

    Args:
        canvas: Where it goes.
        what: What the workflow does.
        files: What it needs.
        steps: What to do, in order.
        more: What else to try.
    """
    lines = [what, "", "### Files", ""]
    for file in files:
        renamed = "" if file.url.endswith(f"/{file.name}") else ", renamed to this"
        lines.append(f"- `models/{file.directory}`: [{file.name}]({file.url}){renamed}")
    lines += ["", "In subfolders they are found too. After a download press `R`.", "", "### Do this", ""]
    lines += [f"{number}. {step}" for number, step in enumerate(steps, 1)]
    if more:
        lines += ["", "### Try", "", *(f"- {step}" for step in more)]
    canvas.note("\n".join(lines))


def checkpoint(canvas: Canvas, file: ModelFile) -> Placed:
    """Begin the column of models."""
    canvas.column(MODELS)
    return canvas.add("CheckpointLoaderSimple", ckpt_name=file.name, models=[file])


def load_adapter(canvas: Canvas, file: ModelFile, title: str = "") -> Output:
    """Load an adapter."""
    return canvas.add("LoadT2IAdapter", title, adapter_name=file.name, models=[file])[0]


def prompts(canvas: Canvas, clip: Output, text: str, unwanted: str = UNWANTED) -> tuple[Output, Output]:
    """Encode both prompts."""
    positive = canvas.add("CLIPTextEncode", PROMPT, clip=clip, text=text)
    negative = canvas.add("CLIPTextEncode", NEGATIVE, clip=clip, text=unwanted)
    return positive[0], negative[0]


def empty(canvas: Canvas, sampling: Sampling = SD) -> Output:
    """Begin the column of the picture, with an empty one."""
    canvas.column(PICTURE)
    return canvas.add("EmptyLatentImage", width=sampling.width, height=sampling.height)[0]


def draw(
    canvas: Canvas, model: Output, texts: tuple[Output, Output], latent: Output, vae: Output, sampling: Sampling = SD
) -> Output:
    """Draw a picture from a latent and decode it."""
    sampled = canvas.add(
        "KSampler",
        model=model,
        positive=texts[0],
        negative=texts[1],
        latent_image=latent,
        seed=1,
        steps=sampling.steps,
        cfg=sampling.cfg,
        sampler_name=sampling.sampler,
        scheduler=sampling.scheduler,
    )
    return canvas.add("VAEDecode", samples=sampled[0], vae=vae)[0]


def save(canvas: Canvas, images: Output, name: str) -> None:
    """Save pictures."""
    canvas.add("SaveImage", SAVED, images=images, filename_prefix=f"t2i-adapter/{name}")


def one_adapter(
    canvas: Canvas, loaded: Placed, hint: Output, adapter: Output, text: str, sampling: Sampling = SD, **apply: Any
) -> None:
    """Apply an adapter, write the prompts, and draw: what follows once the condition is there."""
    canvas.column(CONTROL)
    model = canvas.add("ApplyT2IAdapter", model=loaded[0], adapter=adapter, image=hint, **apply)[0]
    texts = prompts(canvas, loaded[1], text)
    latent = empty(canvas, sampling)
    save(canvas, draw(canvas, model, texts, latent, loaded[2], sampling), "picture")
