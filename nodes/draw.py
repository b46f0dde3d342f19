"""Condition images from depth, masks and keypoints. No weights needed."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from ..annotators import depth, pose, segmentation
from ..annotators.images import at_resolution
from ..annotators.keypoints import read_poses
from .annotation.pictures import (
    ANNOTATOR_CATEGORY,
    image_input,
    image_output,
    in_parts,
    resolution_input,
    shown_output,
    to_image,
    to_planes,
)
from .inputs import checked
from .search_words import search_words
from .sockets import KeypointSocket


class T2INormalizeDepth(io.ComfyNode):
    """Normalise depth from another node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="T2INormalizeDepth",
            display_name="T2I Normalize Depth",
            category=ANNOTATOR_CATEGORY,
            has_intermediate_output=True,
            description="Bring the depth of any other node to the range that depth adapters were trained with: near is "
            "white. Needs no weights.",
            search_aliases=search_words(
                "T2INormalizeDepth", "depth", "midas", "zoe", "zoedepth", "disparity", "depth anything", "invert depth"
            ),
            inputs=[
                image_input("Gray depth of another node, of any range. Alpha is dropped, colours are refused."),
                resolution_input(" Leave it at 0: depth is smooth."),
                io.Combo.Input(
                    "mode",
                    options=[row.name for row in depth.DEPTH_MODES],
                    default=depth.DEPTH_MODES[0].name,
                    tooltip="midas (default): for depth and depth-midas adapters, disparity from its least to its "
                    "greatest value. zoe: for depth-zoe adapters, depth between percentiles.",
                ),
                io.Combo.Input(
                    "input_is",
                    options=list(depth.DEPTH_INPUTS),
                    default=depth.DEPTH_INPUTS[0],
                    tooltip="What bright means in the input. disparity (default): near, as of MiDaS, Depth Anything "
                    "and MoGe's picture. depth: far, as of ZoeDepth and metric depth.",
                ),
                io.Float.Input(
                    "gamma",
                    default=0.0,
                    min=0.0,
                    max=10.0,
                    step=0.05,
                    tooltip="Exponent: above 1 darkens what is far. 0 (default) is as trained: 1 for midas, 2.2 for "
                    "zoe. Up to 10.",
                ),
            ],
            outputs=[image_output("Depth in gray: near is white.")],
        )

    @classmethod
    @checked
    def execute(
        cls,
        image: torch.Tensor,
        resolution: int = 0,
        mode: str = depth.DEPTH_MODES[0].name,
        input_is: str = depth.DEPTH_INPUTS[0],
        gamma: float = 0.0,
    ) -> io.NodeOutput:
        """Normalise the depth."""
        planes = to_planes(image)
        depth.check_depth(planes)

        def normalize(part: torch.Tensor) -> torch.Tensor:
            return depth.normalize_depth(part, mode, input_is, gamma)

        return in_parts(planes, lambda part: at_resolution(part, resolution, normalize))


class T2IPaintSegmentation(io.ComfyNode):
    """Paint a segmentation by hand."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="T2IPaintSegmentation",
            display_name="T2I Paint Segmentation",
            category=ANNOTATOR_CATEGORY,
            has_intermediate_output=True,
            description="Paint what a mask marks in the colour of one of COCO-Stuff's 182 classes, which segmentation "
            "adapters were trained with. Chain several of them. Needs no weights.",
            search_aliases=search_words(
                "T2IPaintSegmentation",
                "segmentation",
                "seg",
                "coco stuff",
                "semantic map",
                "label colours",
                "palette",
                "gaugan",
            ),
            inputs=[
                io.Mask.Input(
                    "mask", tooltip="The area to paint: values from 0.5 on. A batch paints one picture each."
                ),
                io.Combo.Input(
                    "label",
                    options=list(segmentation.LABELS),
                    default=segmentation.LABELS[0],
                    tooltip="The class of the area. Default person.",
                ),
                io.Image.Input(
                    "canvas",
                    optional=True,
                    tooltip="A segmentation from another of these nodes, to paint on. Without it: black, unlabelled.",
                ),
            ],
            outputs=[image_output("The segmentation. Black is unlabelled: there the prompt decides.")],
        )

    @classmethod
    @checked
    def execute(
        cls, mask: torch.Tensor, label: str = segmentation.LABELS[0], canvas: torch.Tensor | None = None
    ) -> io.NodeOutput:
        """Paint the mask."""
        below = None if canvas is None else to_planes(canvas)
        return shown_output(to_image(segmentation.paint_mask(below, mask, label)))


class T2IDrawPose(io.ComfyNode):
    """Draw poses from keypoints."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        side = {"default": 0, "min": 0, "max": 16384, "step": 8}
        return io.Schema(
            node_id="T2IDrawPose",
            display_name="T2I Draw Pose",
            category=ANNOTATOR_CATEGORY,
            has_intermediate_output=True,
            description="Draw bodies from keypoints in the colours that pose adapters were trained with. Takes the "
            "keypoints of any node: OpenPose, DWPose, SDPose. Needs no weights.",
            search_aliases=search_words(
                "T2IDrawPose", "openpose", "dwpose", "skeleton", "keypose", "mmpose", "pose keypoints", "stick figure"
            ),
            inputs=[
                KeypointSocket.Input(
                    "keypoints", tooltip="Keypoints in OpenPose's format, in pixels or from 0 to 1. Bodies only."
                ),
                io.Combo.Input(
                    "style",
                    options=[row.name for row in pose.POSE_STYLES],
                    default=pose.POSE_STYLES[0].name,
                    tooltip="openpose (default): for openpose adapters; Load T2I-Adapter swaps the colours for SDXL "
                    "by itself. openpose bgr: swapped here, for loaders that do not. keypose: for keypose adapters.",
                ),
                io.Int.Input("width", tooltip="Width in pixels. 0 (default): that of the keypoints' canvas.", **side),
                io.Int.Input("height", tooltip="Height in pixels. 0 (default): that of the keypoints' canvas.", **side),
                io.Int.Input(
                    "stick_width",
                    default=4,
                    min=1,
                    max=64,
                    tooltip="Half width of limbs and radius of joints in pixels, 1 to 64; keypose halves it. 4 "
                    "(default) is as trained at 512 pixels, 8 at 1024.",
                ),
                io.Int.Input(
                    "max_people",
                    default=0,
                    min=0,
                    max=100,
                    tooltip="Draw only the first people. 0 (default): as trained, all of them; two for keypose.",
                ),
            ],
            outputs=[image_output("Bodies on black, one picture per frame.")],
        )

    @classmethod
    @checked
    def execute(
        cls,
        keypoints: Any,
        style: str = pose.POSE_STYLES[0].name,
        width: int = 0,
        height: int = 0,
        stick_width: int = 4,
        max_people: int = 0,
    ) -> io.NodeOutput:
        """Draw the bodies."""
        poses = read_poses(keypoints, (height, width))
        return shown_output(to_image(pose.draw_poses(poses, style, stick_width, max_people)))
