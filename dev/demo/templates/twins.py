"""Twins: the example workflows run on the miniature, with other names, sizes and pictures inserted."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from PIL import Image

from ...miniature import measure, scenes
from ...tasks import client
from ...tasks.client import Workflow
from ...tasks.server import ComfyServer
from .. import workflows
from . import inputs, stand_ins
from .catalogue import TEMPLATES, Template
from .convert import NOTES, Document, placed_values, to_prompt
from .definitions import Definitions

MINIATURE, SKETCH, COLOUR, SEGMENTATION = (
    "miniature.safetensors",
    *(f"t2iadapter_{kind}_miniature.safetensors" for kind in ("sketch", "color", "seg")),
)
# Titles of nodes.
PROMPT, NEGATIVE, SAVED = "Prompt", "Negative prompt", "Save"
SEEN, EDGES, PALETTE = "T2I Clean Sketch", "T2I Canny Edges", "T2I Color Palette"
PAINTED = ("First thing", "Second thing")
SDXL = "sd_xl_base_1.0.safetensors"
# Replacements for the published files.
NAMES: Mapping[str, str] = {
    "v1-5-pruned-emaonly-fp16.safetensors": MINIATURE,
    SDXL: MINIATURE,
    "t2iadapter_sketch_sd15v2.pth": SKETCH,
    "t2iadapter_canny_sd15v2.pth": SKETCH,
    "t2i-adapter-lineart-sdxl-1.0.fp16.safetensors": SKETCH,
    "t2iadapter_openpose_sd14v1.pth": SEGMENTATION,
    "coadapter-sketch-sd15v1.pth": SKETCH,
    "t2iadapter_color_sd14v1.pth": COLOUR,
    "coadapter-color-sd15v1.pth": COLOUR,
    "t2iadapter_seg_sd14v1.pth": SEGMENTATION,
    "t2iadapter_depth_sd15v2.pth": SKETCH,
    "t2iadapter_style_sd14v1.pth": stand_ins.STYLE,
    "coadapter-fuser-sd15v1.pth": stand_ins.FUSER,
    "clip-vit-large-patch14.safetensors": stand_ins.CLIP_VISION,
}
# Sizes in pixels, reduced with the picture; and settings that suit the miniature.
PIXELS = ("width", "height", "x", "y", "cell", "resolution")
SETTINGS: Mapping[tuple[str, str], Any] = {
    ("KSampler", "steps"): 16,
    ("KSampler", "cfg"): 3.0,
    ("CreateT2IAdapter", "size"): "tiny",
    ("TrainT2IAdapter", "steps"): 24,
    ("TrainT2IAdapter", "batch_size"): 2,
    ("TrainT2IAdapter", "save_every"): 0,
}
# COCO-Stuff's names of the colours that the miniature's segmentation uses for its shapes.
LABELS = ("person", "bicycle", "car", "motorcycle")
FOLDER = "lessons"
Value = Callable[[scenes.Scenes], Any]


@dataclass(frozen=True)
class Twin:
    """How a workflow runs on the miniature.

    Attributes:
        name: Name of its workflow.
        first: Index of its first scene among the held-out scenes.
        count: Number of scenes.
        files: By title and input: function that returns the bytes of the file that a widget names.
        values: By title and input: function that returns a widget's value.
        result: Title of the node with the pictures.
        seen: Titles of the annotators of the adapter's input, or of an input picture.
    """

    name: str
    first: int
    count: int = 1
    files: Mapping[tuple[str, str], Callable[[scenes.Scenes], bytes]] = field(default_factory=dict)
    values: Mapping[tuple[str, str], Value] = field(default_factory=dict)
    result: str = SAVED
    seen: tuple[str, ...] = (SEEN,)

    @property
    def template(self) -> Template:
        """Return the workflow itself."""
        return next(one for one in TEMPLATES if one.name == self.name)

    @property
    def scenes(self) -> scenes.Scenes:
        """Return its scenes."""
        return measure.held_out(self.count, self.first)


@dataclass(frozen=True)
class Run:
    """The result of a twin's run.

    Attributes:
        prompt: The queued prompt.
        images: Picture files by node title.
        outputs: What nodes reported to the page, by their ids.
    """

    prompt: Workflow
    images: Mapping[str, list[bytes]]
    outputs: Mapping[str, Any]


def drawn(drawing: Callable[[scenes.Scenes], Image.Image]) -> Callable[[scenes.Scenes], bytes]:
    """Return a function that encodes a picture as a file."""
    return lambda shown: inputs.png(drawing(shown))


def label(slot: int) -> Value:
    """Return a function that names the kind of a shape."""
    return lambda shown: LABELS[int(shown.kind[0, slot])]


def half(number: int) -> Value:
    """Return a function that writes the prompt of one of two scenes."""
    return lambda shown: inputs.text(shown.pick(slice(number, number + 1)))


def repainted(shown: scenes.Scenes) -> str:
    """Return the prompt with the last shape in a colour that is not in the scene."""
    used = {int(shown.background[0]), *shown.colour[0, : int(shown.count[0])].tolist()}
    colour = shown.colour.clone()
    colour[0, int(shown.count[0]) - 1] = min(set(range(len(scenes.RGB))) - used)
    return inputs.text(scenes.Scenes(**{**vars(shown), "colour": colour}))


WORDS: Mapping[tuple[str, str], Value] = {(PROMPT, "text"): inputs.text, (NEGATIVE, "text"): lambda _: ""}
COLOURLESS = {**WORDS, (PROMPT, "text"): lambda shown: inputs.text(shown, colours=False)}
DRAWING = {("Drawing", "image"): drawn(inputs.drawing)}
DRAWN_AND_COLOURED = {**DRAWING, ("Colours", "image"): drawn(inputs.painting)}
THINGS = {("Paint house", "label"): label(0), ("Paint tree", "label"): label(1)}
STROKES = {(title, "mask"): drawn(partial(inputs.painted_slot, slot=slot)) for slot, title in enumerate(PAINTED)}
SIDES = {(f"{side} prompt", "text"): half(number) for number, side in enumerate(("Left", "Right"))}
TWINS = (
    Twin("Draw it here", 36, files={("Draw here", "mask"): drawn(lambda shown: inputs.painted(inputs.sketch(shown)))},
         values=WORDS, seen=("Draw here",)),
    Twin("Drawing on paper to picture", 36, files=DRAWING, values=WORDS),
    Twin("Keep the edges of a photo", 26, files={("Picture", "image"): drawn(inputs.painting)}, values=WORDS,
         seen=(EDGES,)),
    Twin("Keep the depth of a photo", 17, files={("Depth map or photograph", "image"): drawn(inputs.depth)},
         values=WORDS, seen=("T2I Normalize Depth",)),
    Twin("Keep the colours of a photo", 79, files={("Colours", "image"): drawn(inputs.painting)}, values=COLOURLESS,
         seen=(PALETTE,)),
    Twin("Paint where things are", 31, files=STROKES, values={**WORDS, **THINGS}, seen=("Paint tree",)),
    Twin("Pose of a person to picture", 53, values=WORDS, seen=("Skeleton or photograph",),
         files={("Skeleton or photograph", "image"): drawn(lambda _: inputs.skeleton())}),
    Twin("Line art to picture, SDXL", 74, files=DRAWING, values=WORDS),
    Twin("Style of another picture", 69, files={("Reference", "image"): drawn(inputs.painting)}, values=WORDS,
         seen=("Reference",)),
    Twin("Two adapters, shapes and colours", 24, files=DRAWN_AND_COLOURED, values=COLOURLESS, seen=(SEEN, PALETTE)),
    Twin("Two adapters, balanced by CoAdapter", 58, files=DRAWN_AND_COLOURED, values=COLOURLESS, seen=(SEEN, PALETTE)),
    Twin("Two prompts side by side", 69, 2, files=DRAWING, values={**WORDS, **SIDES}),
    Twin("Sketch for the composition only", 42, files=DRAWING, values=WORDS),
    Twin("Repaint a part of a photo", 23, values={**WORDS, (PROMPT, "text"): repainted}, seen=("Picture with a mask",),
         files={("Picture with a mask", "image"): drawn(lambda shown: inputs.masked(shown, 1))}),
    Twin("Video in another style", 72, files={("Video", "file"): lambda shown: inputs.video(inputs.moving(shown))},
         values=WORDS, result="Frames", seen=(EDGES,)),
    Twin("Train your own adapter", 0, 4, values={("Pictures and captions", "folder"): lambda _: FOLDER},
         result="Loss", seen=(EDGES,)),
)  # fmt: skip


def prepare(server: ComfyServer) -> Definitions:
    """Write the twins' shared files into a server's folders; return its nodes."""
    stand_ins.write(server.base / "models")
    inputs.lessons(measure.held_out(4), server.base / "input" / FOLDER)
    return Definitions(server.get("/object_info"))


def prompt_of(twin: Twin, known: Definitions) -> tuple[Workflow, dict[str, bytes]]:
    """Return a twin's prompt, and the files that it names.

    Args:
        twin: The twin.
        known: The server's nodes.
    """
    document, shown = twin.template.load(), twin.scenes
    files = {(title, name): (file_name(twin, title, name), make(shown)) for (title, name), make in twin.files.items()}
    values = {place: name for place, (name, _) in files.items()}
    values |= {place: make(shown) for place, make in twin.values.items()}
    prompt = workflows.put(shrunk(to_prompt(document, known)), values)
    return prompt, dict(files.values())


def shrunk(prompt: Workflow) -> Workflow:
    """Return a prompt with the miniature's names, sizes and settings."""
    scale = _scale(value for node in prompt.values() for value in node["inputs"].values())
    made: Workflow = {}
    for number, node in prompt.items():
        changed = {name: small(node["class_type"], name, value, scale) for name, value in node["inputs"].items()}
        made[number] = {**node, "inputs": changed}
    return made


def small(class_type: str, name: str, value: Any, scale: int) -> Any:
    """Return the value of a widget that suits the miniature.

    Args:
        class_type: The node's type.
        name: The widget.
        value: Its value.
        scale: Pixels of the workflow's picture per pixel of the miniature's.
    """
    if isinstance(value, str):
        value = NAMES.get(value, value)
    elif name in PIXELS and isinstance(value, int):
        value = value // scale
    return SETTINGS.get((class_type, name), value)


def _scale(values: Iterable[Any]) -> int:
    return int((1024 if any(value == SDXL for value in values) else 512) // scenes.SIZE)


def document_of(twin: Twin, known: Definitions) -> Document:
    """Return a twin's workflow for the page; its files lie in the folder of inputs.

    Args:
        twin: The twin.
        known: The server's nodes.
    """
    document = twin.template.load()
    scale = _scale(value for node in document["nodes"] for value in node["widgets_values"])
    given: dict[tuple[str, str], Any] = {(title, name): file_name(twin, title, name) for title, name in twin.files}
    given |= {place: make(twin.scenes) for place, make in twin.values.items()}
    for node in document["nodes"]:
        node["properties"].pop("models", None)
        if node["type"] not in NOTES:
            definition = known[node["type"]]
            title = node.get("title", definition.title)
            for place, name, before in placed_values(node, definition):
                value = small(node["type"], name, before, 1 if node["type"] == "Painter" else scale)
                # An input that the file is older than gets its value at the end.
                node["widgets_values"][place : place + 1] = [given.get((title, name), value)]
    return document


def file_name(twin: Twin, title: str, name: str) -> str:
    """Return the name of a file that a twin needs."""
    plain = re.sub(r"\W+", "-", f"{twin.name} {title}".lower())
    return f"{plain}.{'mp4' if name == 'file' else 'png'}"


def run(server: ComfyServer, twin: Twin, known: Definitions, values: dict[tuple[str, str], Any] | None = None) -> Run:
    """Run a twin on a server.

    Args:
        server: A prepared server.
        twin: The twin.
        known: The server's nodes.
        values: More values by title and input.
    """
    prompt, files = prompt_of(twin, known)
    prompt = workflows.put(prompt, values or {})
    for name, data in files.items():
        (server.base / "input" / name).write_bytes(data)
    queued = previewed(prompt, twin.seen)
    result = client.run(server.url, queued)
    given = {title: [data] for (title, _), data in zip(twin.files, files.values(), strict=True)}
    made = {queued[node]["_meta"]["title"]: images for node, images in result.images.items()}
    outputs = {node: output for node, output in result.outputs.items() if node in prompt}
    return Run(prompt, {**given, **made}, outputs)


def previewed(prompt: Workflow, titles: tuple[str, ...]) -> Workflow:
    """Return a prompt that also reports the pictures of the annotators with these titles."""
    made = dict(prompt)
    for number, node in prompt.items():
        title = node["_meta"]["title"]
        if title in titles and node["class_type"].startswith("T2I"):
            preview = {"class_type": "PreviewImage", "inputs": {"images": [number, 0]}, "_meta": {"title": title}}
            made[f"{number}-preview"] = preview
    return made
