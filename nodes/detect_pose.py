"""T2I Detect Pose: find people's joints with ViTPose."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..annotators.keypoints import read_poses
from ..annotators.pose import draw_poses
from .annotation.network_annotator import AnnotationJob, pixels_at_once
from .annotation.network_node import NetworkNode
from .annotation.pictures import ANNOTATOR_CATEGORY, image_output, map_in_parts, shown_output
from .annotation.poses import DETECT_POSE, THRESHOLD, find_poses, read_boxes
from .annotation.weight_files import AUTO
from .inputs import checked
from .search_words import search_words
from .sockets import BoxSocket, KeypointSocket


class T2IDetectPose(NetworkNode, io.ComfyNode):
    """Find people's joints."""

    annotator = "pose"

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="T2IDetectPose",
            display_name="T2I Detect Pose",
            category=ANNOTATOR_CATEGORY,
            has_intermediate_output=True,
            description="Find the joints of people (ViTPose, Apache-2.0), for T2I Draw Pose, which draws them as the "
            "openpose or keypose adapters want them. One person fills the picture, unless bboxes say otherwise.",
            search_aliases=search_words(
                "T2IDetectPose",
                "openpose",
                "dwpose",
                "vitpose",
                "keypose",
                "pose estimation",
                "skeleton",
                "preprocessor",
            ),
            inputs=[
                *cls.network_inputs(),
                io.Float.Input(
                    "threshold",
                    default=THRESHOLD,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Joints of which the network is less sure are left out: higher draws fewer limbs. 0 to 1, "
                    "default 0.3.",
                ),
                BoxSocket.Input(
                    "bboxes",
                    optional=True,
                    extra_dict={"forceInput": True},  # otherwise the page shows a widget and always sends a box
                    tooltip="Where the people are, of RT-DETR Detection or another detector: needed for several, and "
                    "better for small ones. Boxes of other labels than person are left out.",
                ),
            ],
            outputs=[
                KeypointSocket.Output("keypoints", tooltip="The joints in pixels, for T2I Draw Pose and other nodes."),
                image_output("The same, drawn in OpenPose's style."),
            ],
        )

    @classmethod
    @checked
    def execute(
        cls,
        image: Tensor,
        resolution: int = 0,
        weights: str = AUTO,
        threshold: float = THRESHOLD,
        bboxes: Any = None,
    ) -> io.NodeOutput:
        """Find the joints and draw them."""
        job = AnnotationJob("T2IDetectPose", DETECT_POSE, image, resolution, weights)
        planes = job.planes()
        boxes = read_boxes(bboxes, len(planes))
        network, device = job.network(cls.annotator)
        frames: list[dict[str, Any]] = []

        def detect(part: Tensor) -> Tensor:
            in_part = boxes[len(frames) : len(frames) + len(part)] if boxes is not None else None
            found = find_poses(network, part.to(device), resolution, threshold, in_part)
            frames.extend(found)
            return draw_poses(read_poses(found))

        drawn = map_in_parts(planes, detect, pixels_at_once(cls.annotator))
        return shown_output(drawn, frames)
