"""The networks that transformers builds: their configurations, and what they take and give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Task = Literal["depth", "labels", "pose"]
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


# transformers 5 renamed some layers; published files keep the old names. Each pattern turns a new name into the old one
# and leaves old names unchanged, so that networks of both versions find their weights.
_VIT_NAMES = (
    (r"\.attention\.([qkv])_proj\.", r".attention.attention.\1_proj."),
    (r"\.q_proj\.", ".query."),
    (r"\.k_proj\.", ".key."),
    (r"\.v_proj\.", ".value."),
    (r"\.attention\.o_proj\.", ".attention.output.dense."),
)
_BEIT_NAMES = (
    (r"^backbone\.beit\.", "backbone."),
    (r"^backbone\.layers\.", "backbone.encoder.layer."),
    *_VIT_NAMES,
    (r"(\.layer\.\d+)\.mlp\.fc1\.", r"\1.intermediate.dense."),
    (r"(\.layer\.\d+)\.mlp\.fc2\.", r"\1.output.dense."),
    (r"(\.layer\.\d+)\.relative_position_bias\.", r"\1.attention.attention.relative_position_bias."),
)
_DETR_NAMES = ((r"\.mlp\.(fc[12])\.", r".\1."), (r"\.o_proj\.", ".out_proj."))


@dataclass(frozen=True)
class TransformersModel:
    """A published network of transformers.

    Attributes:
        task: What it finds.
        network: Its class in transformers.
        configuration: The class of its configuration.
        config: Values of the published configuration that differ from the class's defaults.
        normal: Mean and standard deviation of its input, for red, green and blue in [0, 1].
        multiple: Both sides of its input are multiples of this, in pixels.
        fit: Height and width near which it was trained; None if it takes the picture's own size.
        square: The class takes only square pictures unless it is told the size.
        border: The picture is mirrored beyond its edges by this factor times the root of half its side.
        mirrored: The answer is the mean of those for the picture and for its mirror image.
        gives: What a depth network gives, in the words of ``normalize_depth``: ``disparity`` (inverse depth up to a
            scale) or ``depth`` (metres).
        names: Pattern and replacement: from the layer names of newer versions of transformers to those in files.
        unused: Ends of names that a file may contain or lack, without effect.
    """

    task: Task
    network: str
    configuration: str
    config: Mapping[str, Any]
    normal: tuple[tuple[float, ...], tuple[float, ...]]
    multiple: int
    fit: tuple[int, int] | None = None
    square: bool = False
    border: float = 0.0
    mirrored: bool = False
    gives: Literal["disparity", "depth"] = "disparity"
    names: tuple[tuple[str, str], ...] = ()
    unused: tuple[str, ...] = ()


DPT_HYBRID = TransformersModel(
    task="depth",
    network="DPTForDepthEstimation",
    configuration="DPTConfig",
    config={
        "is_hybrid": True,
        "neck_hidden_sizes": [256, 512, 768, 768],
        "reassemble_factors": [1, 1, 1, 0.5],
        "backbone_config": {
            "model_type": "bit",
            "depths": [3, 4, 9],
            "layer_type": "bottleneck",
            "global_padding": "same",
            "embedding_dynamic_padding": True,
            "out_features": ["stage1", "stage2", "stage3"],
        },
    },
    normal=HALF,
    multiple=32,
    square=True,
)
DPT_LARGE = TransformersModel(
    task="depth",
    network="DPTForDepthEstimation",
    configuration="DPTConfig",
    config={
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "backbone_out_indices": [5, 11, 17, 23],
        "neck_hidden_sizes": [256, 512, 1024, 1024],
    },
    normal=HALF,
    multiple=32,
    square=True,
)
ZOEDEPTH = TransformersModel(
    task="depth",
    network="ZoeDepthForDepthEstimation",
    configuration="ZoeDepthConfig",
    config={
        "neck_hidden_sizes": [256, 512, 1024, 1024],
        "bin_configurations": [
            {"name": "nyu", "n_bins": 64, "min_depth": 1e-3, "max_depth": 10.0},
            {"name": "kitti", "n_bins": 64, "min_depth": 1e-3, "max_depth": 80.0},
        ],
        "num_patch_transformer_layers": 4,
        "patch_transformer_hidden_size": 128,
        "patch_transformer_intermediate_size": 1024,
        "patch_transformer_num_attention_heads": 4,
        "backbone_config": {
            "model_type": "beit",
            "image_size": 384,
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "use_relative_position_bias": True,
            "reshape_hidden_states": False,
            "out_features": ["stage6", "stage12", "stage18", "stage24"],
        },
    },
    normal=HALF,
    multiple=32,
    fit=(384, 512),
    border=3.0,
    mirrored=True,
    gives="depth",
    names=_BEIT_NAMES,
    unused=(".relative_position_index", ".k_idx", ".k_minus_1", ".K_minus_1"),
)
DEPTH_ANYTHING = TransformersModel(
    task="depth",
    network="DepthAnythingForDepthEstimation",
    configuration="DepthAnythingConfig",
    config={
        "backbone_config": {
            "model_type": "dinov2",
            "image_size": 518,
            "patch_size": 14,
            "hidden_size": 384,
            "num_attention_heads": 6,
            "out_indices": [3, 6, 9, 12],
            "reshape_hidden_states": False,
        },
    },
    normal=IMAGENET,
    multiple=14,
    fit=(518, 518),
    names=_VIT_NAMES,
)
MASKFORMER = TransformersModel(
    task="labels",
    network="MaskFormerForInstanceSegmentation",
    configuration="MaskFormerConfig",
    config={
        "num_labels": 171,
        "backbone_config": {"model_type": "resnet", "out_features": ["stage1", "stage2", "stage3", "stage4"]},
        "decoder_config": {"model_type": "detr"},
    },
    normal=IMAGENET,
    multiple=32,
    fit=(640, 640),
    names=_DETR_NAMES,
    unused=(".num_batches_tracked", "criterion.empty_weight"),
)
VITPOSE = TransformersModel(
    task="pose",
    network="VitPoseForPoseEstimation",
    configuration="VitPoseConfig",
    config={"num_labels": 17, "backbone_config": {"model_type": "vitpose_backbone", "out_indices": [12]}},
    normal=IMAGENET,
    multiple=16,
    fit=(256, 192),
    names=_VIT_NAMES,
)
