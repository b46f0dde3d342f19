"""The annotators that need a network, one row per network."""

from __future__ import annotations

from collections.abc import Container

from .errors import AnnotatorError
from .network_rows import ForwardMemory, NetworkAnnotator, TrainedPreset
from .networks import depth_networks, hed, label_networks, lineart, pidinet, pose_networks, transformers_configs
from .networks.transformers_models import FromTransformers
from .published_files import HUB, PublishedFile

LINES_INSTEAD = "Clean sketch and Canny edges draw lines without weights"
DEPTH_INSTEAD = "Depth from elsewhere can be normalized without weights"
ANNOTATORS_HUB = f"{HUB}/lllyasviel/Annotators/resolve/main"
LINEART_AUTHORS = f"{HUB}/spaces/carolineec/informativedrawings/resolve/main"
# Line networks keep about 60 channels at full size, with copies; networks from transformers keep the scores of all
# classes, and attention.
LINE_MEMORY = ForwardMemory(bytes_per_pixel=1300, pixels=1 << 20)
SCENE_MEMORY = ForwardMemory(bytes_per_pixel=2000, pixels=1 << 18)
# An annotator's first row is the default: the network that its adapters were trained with.
NETWORK_ANNOTATORS = (
    NetworkAnnotator(
        files=(
            PublishedFile(
                "pidinet",
                "sketch",
                "table5_pidinet.pth",
                2_871_148,
                "80860ac267258b5f27486e0ef152a211d0b08120f62aeb185a050acc30da486c",
                (
                    f"{ANNOTATORS_HUB}/table5_pidinet.pth",
                    f"{HUB}/TencentARC/T2I-Adapter/resolve/main/third-party-models/table5_pidinet.pth",
                    "https://github.com/hellozhuo/pidinet/raw/master/trained_models/table5_pidinet.pth",
                ),
                "for research; ask the authors for commercial use",
                LINES_INSTEAD,
            ),
        ),
        mark="block1_1.conv1.weight",
        load=pidinet.load_pidinet,
        annotate=pidinet.pidinet_edges,
        memory=LINE_MEMORY,
        presets=(
            TrainedPreset("sketch", "SDXL", 1024, {"threshold": 0.5}),
            TrainedPreset("sketch", settings={"threshold": 0.5}),
        ),
    ),
    NetworkAnnotator(
        files=(
            PublishedFile(
                "hed",
                "soft edge",
                "ControlNetHED.pth",
                29_444_406,
                "5ca93762ffd68a29fee1af9d495bf6aab80ae86f08905fb35472a083a4c7a8fa",
                (f"{ANNOTATORS_HUB}/ControlNetHED.pth",),
                "Apache-2.0",
                LINES_INSTEAD,
            ),
        ),
        mark="block1.convs.0.weight",
        load=hed.load_hed,
        annotate=hed.hed_edges,
        memory=LINE_MEMORY,
    ),
    NetworkAnnotator(
        files=(
            PublishedFile(
                "lineart",
                "lineart",
                "sk_model.pth",
                17_173_511,
                "c686ced2a666b4850b4bb6ccf0748031c3eda9f822de73a34b8979970d90f0c6",
                (f"{ANNOTATORS_HUB}/sk_model.pth", f"{LINEART_AUTHORS}/model.pth"),
                "MIT",
                LINES_INSTEAD,
            ),
            PublishedFile(
                "lineart coarse",
                "lineart",
                "sk_model2.pth",
                17_173_511,
                "30a534781061f34e83bb9406b4335da4ff2616c95d22a585c1245aa8363e74e0",
                (f"{ANNOTATORS_HUB}/sk_model2.pth", f"{LINEART_AUTHORS}/model2.pth"),
                "MIT",
                LINES_INSTEAD,
            ),
        ),
        mark="model0.1.weight",
        load=lineart.load_lineart,
        annotate=lineart.lineart_lines,
        memory=LINE_MEMORY,
        presets=(
            TrainedPreset("lineart", "SDXL", 384),
            TrainedPreset("lineart"),
        ),
    ),
    NetworkAnnotator(
        files=(
            PublishedFile(
                "dpt-hybrid",
                "depth",
                "dpt-hybrid-midas.safetensors",
                490_000_000,
                None,
                (
                    f"{HUB}/Intel/dpt-hybrid-midas/resolve/main/model.safetensors",
                    # Where the hub's own conversion of the pickled original waits to be merged.
                    f"{HUB}/Intel/dpt-hybrid-midas/resolve/refs%2Fpr%2F5/model.safetensors",
                ),
                "Apache-2.0",
                DEPTH_INSTEAD,
                exact=False,
            ),
        ),
        mark="dpt.embeddings.backbone.bit.embedder.convolution.weight",
        load=FromTransformers(transformers_configs.DPT_HYBRID),
        annotate=depth_networks.depth_picture,
        memory=SCENE_MEMORY,
        presets=(TrainedPreset("depth", stand_ins=("dpt-large", "depth-anything-v2-small")),),
    ),
    NetworkAnnotator(
        files=(
            PublishedFile(
                "dpt-large",
                "depth",
                "dpt-large.safetensors",
                1_370_000_000,
                None,
                (f"{HUB}/Intel/dpt-large/resolve/main/model.safetensors",),
                "Apache-2.0",
                DEPTH_INSTEAD,
                exact=False,
            ),
        ),
        mark="dpt.embeddings.patch_embeddings.projection.weight",
        load=FromTransformers(transformers_configs.DPT_LARGE),
        annotate=depth_networks.depth_picture,
        memory=SCENE_MEMORY,
        presets=(TrainedPreset("depth", "SDXL", 512, stand_ins=("dpt-hybrid", "depth-anything-v2-small")),),
    ),
    NetworkAnnotator(
        files=(
            PublishedFile(
                "depth-anything-v2-small",
                "depth",
                "depth-anything-v2-small.safetensors",
                99_173_660,
                "3152477ce0d8d6978d76b995120de97cb5b928701fd0f817769f59e249a16b70",
                (f"{HUB}/depth-anything/Depth-Anything-V2-Small-hf/resolve/main/model.safetensors",),
                "Apache-2.0",
                DEPTH_INSTEAD,
            ),
        ),
        mark="head.conv3.weight",
        load=FromTransformers(transformers_configs.DEPTH_ANYTHING),
        annotate=depth_networks.depth_picture,
        memory=SCENE_MEMORY,
    ),
    NetworkAnnotator(
        files=(
            PublishedFile(
                "zoedepth-nk",
                "depth",
                "zoedepth-nyu-kitti.safetensors",
                1_380_000_000,
                None,
                (f"{HUB}/Intel/zoedepth-nyu-kitti/resolve/main/model.safetensors",),
                "MIT",
                DEPTH_INSTEAD,
                exact=False,
            ),
        ),
        mark="relative_head.conv1.weight",
        load=FromTransformers(transformers_configs.ZOEDEPTH),
        annotate=depth_networks.depth_picture,
        memory=SCENE_MEMORY,
        presets=(
            TrainedPreset("zoedepth", "SDXL", 512, {"gamma": 2.2}),
            # How the SD1.5 adapter's depth was normalised is not published; this is how its authors show such depth.
            TrainedPreset("zoedepth", settings={"gamma": 1.0}),
        ),
    ),
    NetworkAnnotator(
        files=(
            PublishedFile(
                "maskformer-coco-stuff",
                "segmentation",
                "maskformer-resnet50-coco-stuff.bin",
                166_000_000,
                None,
                (f"{HUB}/facebook/maskformer-resnet50-coco-stuff/resolve/main/pytorch_model.bin",),
                "not stated by its authors",
                "Masks can be painted in the classes' colours without weights",
                exact=False,
            ),
        ),
        mark="class_predictor.weight",
        load=FromTransformers(transformers_configs.MASKFORMER),
        annotate=label_networks.segmentation_picture,
        memory=SCENE_MEMORY,
        presets=(TrainedPreset("segmentation"),),
    ),
    NetworkAnnotator(
        files=(
            PublishedFile(
                "vitpose-base-simple",
                "pose",
                "vitpose-base-simple.safetensors",
                344_000_000,
                "85375373893ddd3641f3912821073e53f5435f9e966e1dca59d004454bfe4fdf",
                (f"{HUB}/usyd-community/vitpose-base-simple/resolve/main/model.safetensors",),
                "Apache-2.0",
                "Keypoints from elsewhere can be drawn without weights",
                exact=False,
            ),
        ),
        mark="head.conv.weight",
        load=FromTransformers(transformers_configs.VITPOSE),
        annotate=pose_networks.pose_picture,
        memory=SCENE_MEMORY,
        presets=(
            TrainedPreset("openpose", "SDXL", 512),
            TrainedPreset("openpose"),
            TrainedPreset("keypose", settings={"style": "keypose", "threshold": 0.1}),
        ),
    ),
)


def networks_of(annotator: str) -> tuple[NetworkAnnotator, ...]:
    """Return the rows of an annotator, the recommended first."""
    return tuple(row for row in NETWORK_ANNOTATORS if row.annotator == annotator)


def network_named(key: str) -> NetworkAnnotator:
    """Return the row with this key.

    Raises:
        AnnotatorError: There is none.
    """
    for row in NETWORK_ANNOTATORS:
        if row.key == key:
            return row
    known = ", ".join(row.key for row in NETWORK_ANNOTATORS)
    raise AnnotatorError("network", f"'{key}'", f"one of {known}", says=f"There is no annotator network '{key}'.")


def recognise(content: Container[str], rows: tuple[NetworkAnnotator, ...] | None = None) -> NetworkAnnotator | None:
    """Return the row whose mark is among the names of a file's tensors, or None.

    Args:
        content: Names, or a mapping from them.
        rows: The rows to choose from; all by default.
    """
    return next((row for row in (NETWORK_ANNOTATORS if rows is None else rows) if row.mark in content), None)
