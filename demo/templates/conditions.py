"""The workflows with one condition each."""

from typing import Any

from . import published
from .canvas import Canvas, Output
from .parts import CONDITION, EXAMPLE, SEEN, Sampling, checkpoint, load_adapter, note, one_adapter

THINGS = ("First thing", "Second thing")
XL = Sampling(1024, 1024, "euler_ancestral", "normal", 30, 7.5)


def picture(canvas: Canvas, title: str, name: str = EXAMPLE) -> Output:
    """Begin the column of the condition, with a picture."""
    canvas.column(CONDITION)
    return canvas.add("LoadImage", title, image=name)[0]


def seen(canvas: Canvas, images: Output) -> Output:
    """Show what the adapter gets."""
    canvas.add("PreviewImage", SEEN, images=images)
    return images


def sketch(canvas: Canvas) -> None:
    """A drawing becomes a picture."""
    note(
        canvas,
        "A drawing or a photograph becomes white lines on black, and the picture follows them.",
        (published.SD15, published.SKETCH),
        (
            "**Drawing**: choose your drawing, scan or photograph.",
            "Set `mode` of **T2I Clean Sketch**: `threshold` for clean drawings, `line art` for paper with shadows, "
            "`xdog` for photographs.",
            f"Look at *{SEEN}*: lines must be white, and few.",
            "Write what it shall be into **Prompt** and queue.",
        ),
        ("`strength` 0.6 to 0.8 and `end_percent` 0.5 leave more to the prompt.", "**T2I Sketch** finds sketches in "
         "photographs as the adapter was trained (2.9 MB of weights)."),
    )  # fmt: skip
    loaded = checkpoint(canvas, published.SD15)
    adapter = load_adapter(canvas, published.SKETCH)
    lines = canvas.add("T2ICleanSketch", image=picture(canvas, "Drawing"), mode="line art")[0]
    one_adapter(canvas, loaded, seen(canvas, lines), adapter, "a fox in a forest, watercolour, soft light")


def canny(canvas: Canvas) -> None:
    """Edges of a photograph."""
    note(
        canvas,
        "The edges of a picture stay where they are, and everything else is new.",
        (published.SD15, published.CANNY),
        (
            "**Picture**: choose a photograph.",
            f"Look at *{SEEN}*. Too few edges: lower both thresholds. Too many: raise them.",
            "Write what it shall become into **Prompt** and queue.",
        ),
        ("Thresholds of 100 and 200 are those of the training.", "`strength` 0.7 keeps the layout and frees details."),
    )
    loaded = checkpoint(canvas, published.SD15)
    adapter = load_adapter(canvas, published.CANNY)
    edges = canvas.add("T2IAnnotateCanny", image=picture(canvas, "Picture"))[0]
    one_adapter(canvas, loaded, seen(canvas, edges), adapter, "a marble statue in a museum, photograph")


def depth(canvas: Canvas) -> None:
    """Depth of a scene."""
    note(
        canvas,
        "What is near stays near, and what is far stays far: the room of a picture is kept, its contents are new.",
        (published.SD15, published.DEPTH, published.DEPTH_NETWORK),
        (
            "**Depth map or photograph**: choose a depth map.",
            "For a photograph switch **T2I Depth** on: select it and press `Ctrl+B`. Only then its file is needed.",
            f"Look at *{SEEN}*: near must be white. Otherwise set `input_is` to `depth`.",
            "Write the scene into **Prompt** and queue.",
        ),
        ("Depth of any other node may go into **T2I Normalize Depth** as well.",
         "ZoeDepth adapters: set `mode` to `zoe`."),
    )  # fmt: skip
    loaded = checkpoint(canvas, published.SD15)
    adapter = load_adapter(canvas, published.DEPTH)
    given = picture(canvas, "Depth map or photograph", "depth_map.png")
    network = published.DEPTH_NETWORK
    found = canvas.add("T2IAnnotateDepth", image=given, weights=network.name, models=[network], bypassed=True)[0]
    near = canvas.add("T2INormalizeDepth", image=found)[0]
    one_adapter(canvas, loaded, seen(canvas, near), adapter, "a library with tall shelves, warm light, photograph")


def colour(canvas: Canvas) -> None:
    """The palette of a picture."""
    note(
        canvas,
        "The picture takes its colours, place by place, from another one. What it shows is up to the prompt.",
        (published.SD15, published.COLOUR),
        (
            "**Colours**: choose any picture, a painting or a rough daub.",
            "Write what the new picture shows into **Prompt**, without colours, and queue.",
        ),
        ("`cell` 64 is as trained. Smaller cells keep more of the picture's shapes.",
         "Together with a sketch: see the workflow *Two adapters together*."),
    )  # fmt: skip
    loaded = checkpoint(canvas, published.SD15)
    adapter = load_adapter(canvas, published.COLOUR)
    cells = canvas.add("T2IAnnotateColor", image=picture(canvas, "Colours"))[0]
    one_adapter(canvas, loaded, seen(canvas, cells), adapter, "a street in the evening, oil painting")


def segmentation(canvas: Canvas) -> None:
    """What is where, painted by hand."""
    note(
        canvas,
        "Paint what is where: each picture with a mask is one thing, and the order is from back to front.",
        (published.SD15, published.SEGMENTATION),
        (
            "**First thing** and **Second thing**: right-click, *Open in Mask Editor*, paint where it is. The picture "
            "below is only a guide, and must be square.",
            "Choose in each **T2I Paint Segmentation** what it is, out of 182 names.",
            "**Ground** fills the lower third already. Set its `value` to 0 to leave it out.",
            f"Look at *{SEEN}*. Black is open: there the prompt decides.",
            "Name the same things in **Prompt** and queue.",
        ),
        ("More things: copy a picture with its **T2I Paint Segmentation** and hang it into the chain.",
         "Masks of SAM, of **Painter** or of other nodes do as well."),
    )  # fmt: skip
    loaded = checkpoint(canvas, published.SD15)
    adapter = load_adapter(canvas, published.SEGMENTATION)
    canvas.column("Masks")
    whole = canvas.add("SolidMask", "Nothing", value=0.0)[0]
    strip = canvas.add("SolidMask", "Ground", width=512, height=176)[0]
    ground = canvas.add("MaskComposite", "Ground below", destination=whole, source=strip, y=336, operation="add")[0]
    masks = [ground, *(canvas.add("LoadImage", title, image=EXAMPLE)[1] for title in THINGS)]
    canvas.column(CONDITION)
    painted: dict[str, Any] = {}
    for mask, label in zip(masks, ("grass", "house", "tree"), strict=True):
        painted["canvas"] = canvas.add("T2IPaintSegmentation", f"Paint {label}", mask=mask, label=label, **painted)[0]
    hint = seen(canvas, painted["canvas"])
    one_adapter(canvas, loaded, hint, adapter, "a house beside a tree on a meadow, summer, photograph")


def pose(canvas: Canvas) -> None:
    """The pose of a person."""
    note(
        canvas,
        "The person of the new picture stands as the skeleton does.",
        (published.SD15, published.POSE, published.POSE_NETWORK),
        (
            "**Skeleton or photograph**: choose an OpenPose skeleton on black.",
            "For a photograph of one person switch **T2I Detect Pose** on: select it and press `Ctrl+B`. Only then its "
            "file is needed.",
            f"Look at *{SEEN}*.",
            "Write who it is into **Prompt** and queue. The word *colorful* helps against gray pictures.",
        ),
        ("Several people: connect the boxes of a detector to `bboxes` of **T2I Detect Pose**.",
         "SDXL: take an SDXL pose adapter; its swapped colours are seen to."),
    )  # fmt: skip
    loaded = checkpoint(canvas, published.SD15)
    adapter = load_adapter(canvas, published.POSE)
    given = picture(canvas, "Skeleton or photograph", "pose.png")
    network = published.POSE_NETWORK
    drawn = canvas.add("T2IDetectPose", image=given, weights=network.name, models=[network], bypassed=True)[1]
    one_adapter(canvas, loaded, seen(canvas, drawn), adapter, "a dancer on a stage, colorful, photograph")


def lineart(canvas: Canvas) -> None:
    """Line art with SDXL."""
    note(
        canvas,
        "A line drawing becomes a picture with SDXL.",
        (published.SDXL, published.LINEART, published.LINEART_NETWORK),
        (
            "**Drawing**: choose a line drawing.",
            "For a photograph switch **T2I Lineart** on and **T2I Clean Sketch** off: select them and press `Ctrl+B`. "
            "Only then the last file is needed.",
            f"Look at *{SEEN}*: lines must be white.",
            "Write what it shall be into **Prompt** and queue.",
        ),
        (
            "`strength` 0.8 is the authors' advice.",
            "SDXL likes about a megapixel: 1024 × 1024, 1152 × 896, 832 × 1216.",
        ),
    )
    loaded = checkpoint(canvas, published.SDXL)
    adapter = load_adapter(canvas, published.LINEART)
    given, network = picture(canvas, "Drawing"), published.LINEART_NETWORK
    weights: dict[str, Any] = {"weights": network.name, "resolution": 384, "models": [network]}
    found = canvas.add("T2IAnnotateLineart", image=given, bypassed=True, **weights)[0]
    lines = canvas.add("T2ICleanSketch", image=found, mode="line art")[0]
    text = "a dragon in the mountains, ink and watercolour, highly detailed"
    one_adapter(canvas, loaded, seen(canvas, lines), adapter, text, XL, strength=0.8)
