"""Registers the nodes: a node is part of the pack when its class is listed in NODES."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from . import host
from .annotate import T2IAnnotateCanny, T2IAnnotateGray, T2ICleanSketch
from .annotate_color import T2IAnnotateColor
from .annotate_for import T2IAnnotateFor
from .annotate_lines import T2IAnnotateLineart, T2IAnnotateSketch, T2IAnnotateSoftEdge
from .annotate_scenes import T2IAnnotateDepth, T2IAnnotateSegmentation
from .apply import ApplyT2IAdapter
from .as_controlnet import T2IAdapterToControlNet
from .combine import CombineT2IAdapters, LoadCoAdapterFuser
from .detect_pose import T2IDetectPose
from .draw import T2IDrawPose, T2INormalizeDepth, T2IPaintSegmentation
from .info import PreviewT2IAdapterFeatures, T2IAdapterInfo
from .load import LoadT2IAdapter
from .save import SaveT2IAdapter
from .style import ApplyT2IStyleAdapter, LoadT2IStyleAdapter
from .train import CreateT2IAdapter, TrainT2IAdapter
from .weights import T2IAdapterSchedule, T2IAdapterWeights

NODES: tuple[type[io.ComfyNode], ...] = (
    LoadT2IAdapter,
    ApplyT2IAdapter,
    T2IAdapterWeights,
    T2IAdapterSchedule,
    T2IAdapterToControlNet,
    LoadCoAdapterFuser,
    CombineT2IAdapters,
    LoadT2IStyleAdapter,
    ApplyT2IStyleAdapter,
    T2IAdapterInfo,
    PreviewT2IAdapterFeatures,
    T2IAnnotateCanny,
    T2IAnnotateSketch,
    T2IAnnotateSoftEdge,
    T2ICleanSketch,
    T2IAnnotateLineart,
    T2IAnnotateDepth,
    T2INormalizeDepth,
    T2IAnnotateColor,
    T2IAnnotateSegmentation,
    T2IPaintSegmentation,
    T2IDetectPose,
    T2IDrawPose,
    T2IAnnotateGray,
    T2IAnnotateFor,
    CreateT2IAdapter,
    TrainT2IAdapter,
    SaveT2IAdapter,
)


class T2IAdapterExtension(ComfyExtension):
    """Gives ComfyUI the node classes."""

    async def on_load(self) -> None:
        """Log each interface of this ComfyUI that differs from what the nodes rely on."""
        host.warn_of_changes(host.INTERFACES)

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Return the node classes."""
        return list(NODES)
