"""The published weight files of the learned annotators: what they are called, how to check them, where they are."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

HUB = "https://huggingface.co"
DOWNLOAD = "download: "
# Stands in the entry of a file that can be compared with nothing but what its server states beside it.
UNKNOWN_HASH = "no published hash"


@dataclass(frozen=True)
class PublishedFile:
    """A weight file that anybody can have.

    Attributes:
        key: What it holds; for networks of transformers, the key of their table.
        annotator: Which annotator takes it.
        file: Its name in models/annotators.
        size: Bytes; rounded unless ``exact``.
        sha256: Its hash, or None where it is published nowhere: then the server must state it.
        addresses: Where it can be had, in this order.
        licence: Its licence in a few words.
        instead: What does nearly the same without weights.
        exact: Whether ``size`` is exact.
    """

    key: str
    annotator: str
    file: str
    size: int
    sha256: str | None
    addresses: tuple[str, ...]
    licence: str
    instead: str
    exact: bool = True

    @property
    def entry(self) -> str:
        """What the user chooses in order to download it."""
        unknown = "" if self.sha256 else f", {UNKNOWN_HASH}"
        return f"{DOWNLOAD}{self.file} ({megabytes(self.size)}{unknown})"

    @property
    def on_hub(self) -> tuple[tuple[str, str], ...]:
        """Repository and path inside it, for each address of the hub: the caches of other programs use them."""
        found = (re.fullmatch(rf"{HUB}/([^/]+/[^/]+)/resolve/[^/]+/(.+)", address) for address in self.addresses)
        return tuple(dict.fromkeys((match[1], match[2]) for match in found if match))


LINES_INSTEAD = "T2I Clean Sketch and T2I Canny Edges draw lines without weights"
DEPTH_INSTEAD = "T2I Normalize Depth takes any other node's depth without weights"
ANNOTATORS_HUB = f"{HUB}/lllyasviel/Annotators/resolve/main"
LINEART_AUTHORS = f"{HUB}/spaces/carolineec/informativedrawings/resolve/main"
# The first row of an annotator is the one that its adapters were trained with.
PUBLISHED = (
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
    PublishedFile(
        "maskformer-coco-stuff",
        "segmentation",
        "maskformer-resnet50-coco-stuff.bin",
        166_000_000,
        None,
        (f"{HUB}/facebook/maskformer-resnet50-coco-stuff/resolve/main/pytorch_model.bin",),
        "not stated by its authors",
        "T2I Paint Segmentation paints masks without weights",
        exact=False,
    ),
    PublishedFile(
        "vitpose-base-simple",
        "pose",
        "vitpose-base-simple.safetensors",
        344_000_000,
        "85375373893ddd3641f3912821073e53f5435f9e966e1dca59d004454bfe4fdf",
        (f"{HUB}/usyd-community/vitpose-base-simple/resolve/main/model.safetensors",),
        "Apache-2.0",
        "T2I Draw Pose takes the POSE_KEYPOINT of any other node without weights",
        exact=False,
    ),
)


def published_for(annotator: str) -> tuple[PublishedFile, ...]:
    """Return the rows of an annotator, the recommended first."""
    return tuple(row for row in PUBLISHED if row.annotator == annotator)


def published_as(name: str, rows: Iterable[PublishedFile] = PUBLISHED) -> PublishedFile | None:
    """Return the row whose file has this name, in whatever folder, or None."""
    plain = name.replace("\\", "/").rpartition("/")[-1]
    return next((row for row in rows if row.file == plain), None)


def chosen_for_download(entry: str, rows: Iterable[PublishedFile] = PUBLISHED) -> PublishedFile | None:
    """Return the row that an entry like ``download: name (2.9 MB)`` names, or None.

    What stands in brackets is for the reader: an entry that a saved workflow has from an older catalogue means the same
    file.
    """
    if not entry.startswith(DOWNLOAD):
        return None
    name = entry.removeprefix(DOWNLOAD).partition(" (")[0]
    return next((row for row in rows if row.file == name), None)


def how_to_get(row: PublishedFile, folder: Path, *, by_choice: bool = True) -> str:
    """Say how to come by a file, and what works without it.

    Args:
        row: The file.
        folder: Where it belongs.
        by_choice: Whether choosing its entry would download it.

    Returns:
        Full sentences.
    """
    choice = f"Choose '{row.entry}' to download it (licence: {row.licence}), or put" if by_choice else "Put"
    return (
        f"{choice} {row.file} ({megabytes(row.size)}, sha256 {row.sha256 or 'as the server states it'}) from "
        f"{row.addresses[0]} into {folder}. {row.instead}."
    )


def megabytes(size: int) -> str:
    """Write a size as people do: ``2.9 MB``, ``490 MB``, ``1.4 GB``."""
    value, unit = (size / 1e9, "GB") if size >= 1e9 else (size / 1e6, "MB")
    return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
