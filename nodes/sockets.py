"""The socket types of the pack. Their names are part of saved workflows."""

from __future__ import annotations

from comfy_api.latest import io

T2IAdapterSocket = io.Custom("T2I_ADAPTER")
WeightsSocket = io.Custom("T2I_WEIGHTS")
StyleAdapterSocket = io.Custom("T2I_STYLE_ADAPTER")
FuserSocket = io.Custom("T2I_FUSER")
# Other packs' and ComfyUI's own: OpenPose's dicts.
KeypointSocket = io.Custom("POSE_KEYPOINT")
# ComfyUI's own: boxes of its detectors. As a socket alone, without the widgets that its own input brings along.
BoxSocket = io.Custom("BOUNDING_BOX")
# ComfyUI's own: {"loss": [number per step]}, as its trainer gives it and its Plot Loss Graph takes it.
LossSocket = io.Custom("LOSS_MAP")
