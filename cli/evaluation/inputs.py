"""The held-out samples as inputs of the sampler: caption, seed, real picture and map, kept in a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ...annotators.images import from_bytes, to_bytes
from ...common.fingerprints import fingerprint
from ...training.buckets import PixelSize
from ...training.pictures import read_condition, read_picture
from ...training.recipe import digest
from ...training.samples import Sample, SampleError, Skipped
from .storing import picture_key, read_json, read_planes, write_json, write_picture


@dataclass(frozen=True)
class EvaluationInput:
    """A held-out sample.

    Attributes:
        index: Its place in the data set, from 0; its files are named after it.
        name: Its name in messages.
        caption: The caption.
        seed: Seed of its pictures.
        own_map: The map comes with the data set; False if an annotator drew it.
        content: Digest of the caption and of the pixels of picture and map.
        folder: The folder of :class:`InputFolder`.
    """

    index: int
    name: str
    caption: str
    seed: int
    own_map: bool
    content: str
    folder: Path

    @property
    def file(self) -> str:
        """Name of the real picture and of the map in their folders."""
        return f"{self.index:06}.png"

    @property
    def made_file(self) -> str:
        """Name of the pictures that are made: another one for other contents, so that nothing is overwritten."""
        return f"{self.index:06}-{digest([self.content, self.seed])[:8]}.png"

    def picture(self) -> Tensor:
        """Read the real picture: (1, 3, H, W) in [0, 1]."""
        return read_planes(self.folder / "real" / self.file)

    def asked(self) -> Tensor:
        """Read the map: (1, 3, H, W) in [0, 1]."""
        return read_planes(self.folder / "maps" / self.file)


@dataclass(frozen=True)
class InputFolder:
    """Where the inputs are kept.

    Attributes:
        path: The folder, another one for other facts.
        facts: JSON values that determine the inputs, besides the samples.
        sizes: Allowed sizes of pictures.
        annotate: Draws the map (1, 3, H, W) of a picture without one.
        seed: Seed of the first sample.
    """

    path: Path
    facts: Mapping[str, Any]
    sizes: Sequence[PixelSize]
    annotate: Callable[[Tensor], Tensor]
    seed: int

    def prepare(self, index: int, sample: Sample) -> EvaluationInput:
        """Return a sample as an input; read, crop and annotate it unless that is done.

        Args:
            index: Place of the sample in the data set.
            sample: The sample.

        Raises:
            SampleError: The sample can't be used.
        """
        key = digest([dict(self.facts), sample.stamp])
        kept = self._kept(index, key)
        if kept is not None:
            return kept
        caption = sample.prompt()
        cropped, size = read_picture(sample.picture, self.sizes)
        # As in its file, so that it is annotated now as it will be later.
        picture = from_bytes(to_bytes(cropped), cropped)
        bucket = (picture.shape[-2], picture.shape[-1])
        own = read_condition(sample, size, bucket)
        asked = self.annotate(picture) if own is None else own
        if asked.shape[-2:] != picture.shape[-2:]:
            raise SampleError(f"{sample.name} has a map of another size than its picture")
        prints = [fingerprint(to_bytes(image.clamp(0, 1).cpu())).hex() for image in (picture, asked)]
        found = {"key": key, "name": sample.name, "caption": caption, "own_map": own is not None,
                 "content": digest([caption, *prints])}  # fmt: skip
        write_picture(self.path / "real" / f"{index:06}.png", picture, key)
        write_picture(self.path / "maps" / f"{index:06}.png", asked, key)
        # Last, so that it vouches for both pictures.
        write_json(self._record(index), found)
        return self._input(index, found)

    def load(self, index: int) -> EvaluationInput | None:
        """Return a prepared input; None if the sample was left out."""
        found = read_json(self._record(index))
        return self._input(index, found) if "content" in found else None

    def leave_out(self, index: int, name: str, reason: str) -> None:
        """Note why a sample can't be used."""
        write_json(self._record(index), {"left_out": reason, "name": name})

    def left_out(self, count: int) -> list[Skipped]:
        """Return which of the first samples were left out."""
        records = (read_json(self._record(index)) for index in range(count))
        return [Skipped(found["name"], found["left_out"]) for found in records if "left_out" in found]

    def _kept(self, index: int, key: str) -> EvaluationInput | None:
        found = read_json(self._record(index))
        files = [self.path / kind / f"{index:06}.png" for kind in ("real", "maps")]
        if found.get("key") != key or any(picture_key(file) != key for file in files):
            return None
        return self._input(index, found)

    def _input(self, index: int, found: Mapping[str, Any]) -> EvaluationInput:
        texts = (str(found["name"]), str(found["caption"]))
        return EvaluationInput(
            index, *texts, self.seed + index, bool(found["own_map"]), str(found["content"]), self.path
        )

    def _record(self, index: int) -> Path:
        return self.path / "samples" / f"{index:06}.json"
