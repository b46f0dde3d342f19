"""Feeding the GPU: preparation, size and listing of a data set, drawing batches, and how long a step waits for them."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ...annotators.canny import canny
from ...annotators.gray import gray
from ...annotators.palette import palette
from ...training import drafts, entries
from ...training.buckets import Order, bucket_sizes
from ...training.cache import Prepared, prepare_cache
from ...training.cached_dataset import CachedSet
from ...training.distributed import ALONE
from ...training.in_memory_dataset import Draw
from ...training.prefetch import Prefetch
from ...training.recipe import Recipe
from ...training.samples import Listing, list_folder
from . import probe, report
from .measure import Patience, interleave, ratios, summarise
from .options import Options
from .photographs import photographs

# Maps of the published adapters: lines, smooth gray maps, flat colours; and a photograph, which packs worst.
MAPS: dict[str, Callable[[Tensor], Tensor]] = {
    "canny": canny,
    "gray": gray,
    "palette": palette,
    "photograph": Tensor.clone,
}
# Seconds of the stand-ins for a GPU: it encodes a picture, and makes a training step.
ENCODING, STEP = 0.05, 0.5
# Side of the photographs' files, as cameras make them.
CAMERA = 2000
GOALS = {"waiting": 0.02, "preparation": 0.5, "megabytes": 1.5, "listing": 20.0, "memory": 300.0, "drawing": 2.0}


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        side: Side of the prepared pictures.
        camera: Side of the files.
        pictures: Number of pictures to prepare.
        batch: Size of a batch.
        steps: Number of steps.
        listed: Number of pictures to list.
        drawn: Number of examples to draw from.
    """

    side: int = 1024
    camera: int = CAMERA
    pictures: int = 48
    batch: int = 16
    steps: int = 30
    listed: int = 100_000
    drawn: int = 10_000_000


QUICK = Scale(128, 160, 8, 4, 3, 50, 1000)


def run(options: Options) -> Iterator[report.Section]:
    """Measure each figure of SDXL's size in one run; yields the section as it grows."""
    scale = QUICK if options.quick else Scale()
    notes = (
        f"The networks are stand-ins: each encodes or annotates a picture in {ENCODING * 1e3:.0f} ms; a step takes "
        f"{STEP} s, both without using the CPU, as on a GPU. Prompts have SDXL's shapes.",
        "*one by one* is the same work without threads, each picture after the other.",
        "*waiting* is the share of the time in which the step asks for a batch that is not ready; the files are in the "
        "system's cache. A GPU would convert the bytes of maps: that is not part of it.",
        "Memory is the growth of a fresh process. *drawing* is the mean of 1000 batches, with the first of a round.",
    )
    title = f"Feeding the GPU: {scale.side}×{scale.side}, batches of {scale.batch}"
    tables: list[report.Table] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        listing = _pictures(folder / "pictures", scale)
        parts: tuple[Callable[[], report.Table], ...] = (
            lambda: _many(folder / "many", scale, options),
            lambda: _sizes(listing, folder, scale),
            lambda: _waiting(listing, folder, scale),
            lambda: _preparation(listing, folder, scale, options),
        )
        for part in parts:
            tables.append(part())
            yield report.Section(options.key("feeding"), title, tables, notes)


def _pictures(folder: Path, scale: Scale) -> Listing:
    folder.mkdir()
    for number, values in enumerate(photographs(scale.camera, scale.pictures)):
        Image.fromarray(values).save(folder / f"{number:03}.jpg", quality=92, comment=str(number).encode())
        (folder / f"{number:03}.txt").write_text(f"photograph {number}", encoding="utf-8")
    return list_folder(folder)


def _recipe(scale: Scale, annotate: Callable[[Tensor], Tensor] = gray, seconds: float = 0.0) -> Recipe:
    generator = torch.Generator().manual_seed(0)

    def latents(pictures: Tensor) -> Tensor:
        time.sleep(seconds * len(pictures))
        return torch.randn(len(pictures), 4, scale.side // 8, scale.side // 8, generator=generator)

    def prompt(_caption: str, _latents: Tensor) -> dict[str, Tensor]:
        return {"c_crossattn": torch.randn(1, 77, 2048, generator=generator), "y": torch.randn(1, 2816)}

    return Recipe(bucket_sizes(scale.side), 3, False, latents, prompt, annotate, {})


def _preparation(listing: Listing, folder: Path, scale: Scale, options: Options) -> report.Table:
    numbers = itertools.count()
    seconds = 0.0 if options.quick else ENCODING

    def annotate(pictures: Tensor) -> Tensor:
        time.sleep(seconds * len(pictures))
        return pictures

    how = _recipe(scale, annotate, seconds)

    def ours() -> float:
        started = time.perf_counter()
        prepare_cache(listing, how, folder / f"prepared_{next(numbers)}", ALONE)
        return time.perf_counter() - started

    def one_by_one() -> float:
        place = folder / f"prepared_{next(numbers)}"
        started = time.perf_counter()
        for number, sample in enumerate(listing.samples):
            draft = drafts.read_draft(sample, how)
            if isinstance(draft, drafts.Draft):
                drafts.encode_drafts([draft], how)
                entries.write_entry(place, number.to_bytes(16, "little"), draft.tensors, own=False)
        return time.perf_counter() - started

    rounds = 1 if options.quick else max(3, round(6 * options.patience))
    times = interleave({"ours": ours, "one by one": one_by_one}, Patience(rounds, rounds, 0.0))
    table = report.Table(("preparation", "pictures per second", "goal", "ours / one by one, time", "holds"))
    for name, seconds in times.items():
        figure = summarise(ratios(times["ours"], times["one by one"]))
        cells = (f"≤ {GOALS['preparation']}", report.spread(figure), report.verdict(figure, GOALS["preparation"]))
        rate = report.spread(summarise([scale.pictures / one for one in seconds]), 1)
        table.add(name, rate, *(cells if name == "ours" else ("", "", "")))
    return table


def _sizes(listing: Listing, folder: Path, scale: Scale) -> report.Table:
    table = report.Table(("prepared pictures", "MB each", "goal", "holds"))
    for name, annotate in MAPS.items():
        made = _prepared(listing, folder / name, _recipe(scale, annotate)).entries
        size = sum(entry.length for entry in made) / len(made) / 1e6
        table.add(f"map: {name}", f"{size:.2f}", f"≤ {GOALS['megabytes']}", report.holds(size, GOALS["megabytes"]))
    return table


def _prepared(listing: Listing, folder: Path, how: Recipe) -> Prepared:
    return prepare_cache(listing, how, folder, ALONE)


def _waiting(listing: Listing, folder: Path, scale: Scale) -> report.Table:
    how = _recipe(scale, MAPS["photograph"])
    data = CachedSet(_prepared(listing, folder / "photograph", how), how)
    draw = Draw(scale.batch)
    table = report.Table(("batches", "waiting, share of the time", "goal", "holds"))
    ahead = Prefetch(data, scale.steps + 1)
    # The first batch has no step during which it could be made.
    ahead.batch(draw, 0)
    ahead.waited, started = 0.0, time.perf_counter()
    for number in range(1, scale.steps + 1):
        ahead.batch(draw, number)
        time.sleep(STEP if scale is not QUICK else 0.0)
    share = ahead.waited / (time.perf_counter() - started)
    ahead.close()
    table.add("made ahead by threads", f"{share:.4f}", f"≤ {GOALS['waiting']}", report.holds(share, GOALS["waiting"]))
    started = time.perf_counter()
    for number in range(1, scale.steps + 1):
        data.batch(draw, number)
    alone = (time.perf_counter() - started) / scale.steps
    table.add("made in the step", f"{alone / (alone + STEP):.4f}", "", "")
    return table


def _many(folder: Path, scale: Scale, options: Options) -> report.Table:
    table = report.Table(("many pictures", "value", "goal", "holds"))
    folder.mkdir()
    for number in range(scale.listed):
        for suffix in ("png", "txt"):
            (folder / f"{number:07}.{suffix}").touch()
    found = probe.ask("listing", options.device, {"folder": str(folder)}, fresh=not options.quick)
    for what, value, goal in (
        ("seconds", found["seconds"], GOALS["listing"]),
        ("MB", found["memory"] / 1e6, GOALS["memory"]),
    ):
        table.add(f"{scale.listed} listed, {what}", f"{value:.1f}", f"≤ {goal:g}", report.holds(value, goal))
    order, draw = Order(tuple(_counts(scale.drawn))), Draw(scale.batch)
    started = time.perf_counter()
    for number in range(1000):
        order.batch(draw, number)
    mean = time.perf_counter() - started
    table.add(f"drawing from {scale.drawn}, ms", f"{mean:.3f}", f"≤ {GOALS['drawing']:g}",
              report.holds(mean, GOALS["drawing"]))  # fmt: skip
    return table


def _counts(total: int) -> Iterator[int]:
    """Yield the numbers of examples of five sizes of pictures."""
    for share in (0.4, 0.25, 0.15, 0.1, 0.1):
        yield max(1, round(total * share))
