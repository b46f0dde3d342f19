"""Read COCO's ``captions_*.json``: several captions for each picture of a folder named like the file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from .columns import Row
from .parts import Skipped

CAPTIONS_FILE = re.compile(r"captions_(?P<split>.+)\.json", re.IGNORECASE)
# Annotations without captions, of up to hundreds of megabytes.
UNCAPTIONED = re.compile(r"(instances|person_keypoints|stuff|panoptic|image_info)_.+\.json", re.IGNORECASE)
ANNOTATIONS = "annotations"
NO_CAPTIONS = "COCO annotations without captions"


def is_coco(name: str, whole: Any) -> bool:
    """Return whether a file has COCO's annotations.

    Args:
        name: Name of the file.
        whole: Its JSON value.
    """
    lists = isinstance(whole, Mapping) and all(isinstance(whole.get(key), list) for key in ("images", ANNOTATIONS))
    return lists or CAPTIONS_FILE.fullmatch(name) is not None


def coco_rows(name: str, whole: Any) -> Iterator[Row | Skipped]:
    """Yield a row for each picture, with all its captions.

    Args:
        name: Path of the file, for messages.
        whole: Its JSON value.
    """
    if not is_coco("", whole):
        yield Skipped(name, "no COCO captions: the lists images and annotations are missing")
        return
    if not any(isinstance(one, Mapping) and "caption" in one for one in whole[ANNOTATIONS]):
        yield Skipped(name, NO_CAPTIONS)
        return
    captions: dict[Any, list[str]] = {}
    files = {}
    for number, image in enumerate(whole["images"], 1):
        if isinstance(image, Mapping) and isinstance(image.get("file_name"), str) and isinstance(image.get("id"), int):
            files[image["id"]] = image["file_name"]
        else:
            yield Skipped(f"{name}, image {number}", "no file_name and id")
    for number, annotation in enumerate(whole[ANNOTATIONS], 1):
        reason = _fault(annotation, files)
        if reason:
            yield Skipped(f"{name}, annotation {number}", reason)
        else:
            captions.setdefault(annotation["image_id"], []).append(annotation["caption"])
    match = CAPTIONS_FILE.fullmatch(PurePosixPath(name).name)
    split = match["split"] if match else ""
    # Names may repeat between the folders of train and val.
    folders = (*((split, f"images/{split}") if split else ()), "", "images")
    for image_id, file in files.items():
        yield Row(f"{name}, id {image_id}", file, tuple(captions.get(image_id, ())), folders=folders)


def _fault(annotation: Any, files: Mapping[Any, str]) -> str:
    if not isinstance(annotation, Mapping) or not isinstance(annotation.get("caption"), str):
        return "no caption"
    key = annotation.get("image_id")
    return "" if isinstance(key, int) and key in files else f"no image with the id {str(key)[:50]}"


def captions_beside(folder: Path) -> Iterator[Path]:
    """Yield COCO's captions of a folder of pictures, which are beside it: ``annotations/captions_<folder>.json``."""
    place = Path(folder.absolute())
    for above in place.parents[:2]:
        for path in (above / ANNOTATIONS / f"captions_{place.name}.json", above / f"captions_{place.name}.json"):
            if path.is_file():
                yield path
