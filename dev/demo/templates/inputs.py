"""Input files for the twins, from the miniature's scenes: pictures that a user would choose or paint."""

import io
import math
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image, ImageChops

from ....annotators.keypoints import read_poses
from ....annotators.pose import draw_poses
from ...miniature import conditions, prompts, scenes

VIDEO_FRAMES, VIDEO_FPS = 4, 8
# A standing person with spread limbs: joints in OpenPose's order as (degrees from upright, distance from the middle).
STAR_POSE = (
    (0, 0.78), (0, 0.42), (-58, 0.40), (-68, 0.62), (-72, 0.86), (58, 0.40), (68, 0.62), (72, 0.86), (-140, 0.20),
    (-143, 0.55), (-144, 0.90), (140, 0.20), (143, 0.55), (144, 0.90), (-4, 0.84), (4, 0.84), (-9, 0.80), (9, 0.80),
)  # fmt: skip


def text(drawn: scenes.Scenes, *, colours: bool = True) -> str:
    """Return the prompt of the first scene."""
    rows = prompts.word_rows(drawn)
    line: str = prompts.texts(rows if colours else prompts.without_colours(rows))[0]
    return line


def picture(planes: torch.Tensor) -> Image.Image:
    """Return (C, H, W) in [0, 1] as a picture."""
    values = (planes.movedim(0, -1) * 255).round().to(torch.uint8).numpy()
    return Image.fromarray(values.squeeze(-1) if values.shape[-1] == 1 else values)


def painting(drawn: scenes.Scenes) -> Image.Image:
    """Return the scenes in colours, side by side."""
    return picture(torch.cat(list(scenes.paint(drawn, scenes.distances(drawn))), dim=-1))


def sketch(drawn: scenes.Scenes) -> Image.Image:
    """Return the outlines of the scenes, white on black, side by side."""
    return picture(torch.cat(list(conditions.sketch(scenes.distances(drawn))), dim=-1))


def drawing(drawn: scenes.Scenes) -> Image.Image:
    """Return the outlines of the scenes, dark on white as on paper, side by side."""
    return ImageChops.invert(sketch(drawn))


def depth(drawn: scenes.Scenes) -> Image.Image:
    """Return the depth of the first scene."""
    return picture(conditions.depth(scenes.distances(drawn))[0])


def slot_mask(drawn: scenes.Scenes, slot: int, grow: float = 0.0) -> Image.Image:
    """Return the mask of a shape of the first scene, grown by `grow` pixels: white on black."""
    field = scenes.distances(drawn)
    inside = (field[0, slot] < grow) if grow else scenes.labels(field)[0] == slot + 1
    return picture(inside[None].float())


def painted(mask: Image.Image) -> Image.Image:
    """Return white paint as the Painter saves it: opaque where painted.

    Args:
        mask: White where painted.
    """
    made = Image.new("RGBA", mask.size, "white")
    made.putalpha(mask.convert("L"))
    return made


def painted_slot(drawn: scenes.Scenes, slot: int) -> Image.Image:
    """Return a shape of the first scene, painted over in white."""
    return painted(slot_mask(drawn, slot))


def masked(drawn: scenes.Scenes, slot: int) -> Image.Image:
    """Return the scene with a shape masked as by the mask editor: transparent where painted."""
    made = painting(drawn).convert("RGBA")
    made.putalpha(ImageChops.invert(slot_mask(drawn, slot, grow=10.0)))
    return made


def skeleton(size: int = scenes.SIZE) -> Image.Image:
    """Return a person drawn in OpenPose's style, with thin limbs for a small picture."""
    middle, reach = size / 2, size * 0.44
    angles = ((math.radians(angle), far * reach) for angle, far in STAR_POSE)
    points = [(middle + math.sin(turn) * far, middle - math.cos(turn) * far) for turn, far in angles]
    flat = [value for x, y in points for value in (x, y, 1.0)]
    person = {"people": [{"pose_keypoints_2d": flat}], "canvas_width": size, "canvas_height": size}
    return picture(draw_poses(read_poses([person]), stick_width=2)[0])


def moving(drawn: scenes.Scenes) -> list[Image.Image]:
    """Return frames of the first scene moving from left to right."""
    frames = []
    for number in range(VIDEO_FRAMES):
        shift = torch.tensor([(number - (VIDEO_FRAMES - 1) / 2) * 8.0, 0.0])
        moved = {**vars(drawn), "centre": drawn.centre + shift}
        frames.append(painting(scenes.Scenes(**moved)))
    return frames


def png(image: Image.Image) -> bytes:
    """Return a picture as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def video(frames: list[Image.Image]) -> bytes:
    """Return frames as the bytes of a video file."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=VIDEO_FPS, options={"crf": "8"})
        stream.width, stream.height, stream.pix_fmt = *frames[0].size, "yuv444p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(frame), format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def lessons(drawn: scenes.Scenes, folder: Path) -> None:
    """Write the scenes into a folder, with their prompts beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(len(drawn)):
        one = drawn.pick(slice(number, number + 1))
        painting(one).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(text(one), encoding="utf-8")
