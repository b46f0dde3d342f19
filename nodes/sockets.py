"""The socket types of the pack. Their names are part of saved workflows."""

from __future__ import annotations

from comfy_api.latest import io

T2IAdapterSocket = io.Custom("T2I_ADAPTER")
WeightsSocket = io.Custom("T2I_WEIGHTS")
StyleAdapterSocket = io.Custom("T2I_STYLE_ADAPTER")
FuserSocket = io.Custom("T2I_FUSER")
# Shared with ComfyUI and other packs: dicts in OpenPose's format.
KeypointSocket = io.Custom("POSE_KEYPOINT")
# ComfyUI's own: boxes from its detectors. Declared as a bare socket, without the widgets of ComfyUI's input class.
BoxSocket = io.Custom("BOUNDING_BOX")
# ComfyUI's own: {"loss": [number per step]}, from its trainer to its Plot Loss Graph.
LossSocket = io.Custom("LOSS_MAP")
