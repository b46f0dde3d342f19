"""The weight-free annotators against OpenCV and Pillow, on the same photographs, with one thread each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from ...annotators.canny import canny
from ...annotators.gray import gray
from ...annotators.palette import palette
from . import probe, report
from .measure import Patience, interleave, one_thread, ratios, summarise, timed
from .options import Options
from .photographs import Bytes, photographs, pictures


@dataclass(frozen=True)
class Case:
    """An annotator, and another library's function with the same result.

    Attributes:
        name: Name in the table.
        library: Name of the other library.
        ours: Maps pictures (B, 3, H, W) to pictures.
        theirs: Maps bytes (H, W, 3) to bytes (H, W) or (H, W, 3).
        goal: Largest acceptable ratio ours / theirs.
        as_node: True if the goal is for theirs as a node, not from bytes to bytes.
    """

    name: str
    library: str
    ours: Callable[[torch.Tensor], torch.Tensor]
    theirs: Callable[[Bytes], Bytes]
    goal: float
    as_node: bool = False


def run(options: Options) -> report.Section:
    """Annotate by turns."""
    sizes, batches = ((64,), (1, 2)) if options.quick else ((512, 1024), (1, 8))
    head = ("annotator", "size", "batch", "ours, ms", "other, ms", "ours / other", "ours / as a node", "goal", "holds",
            "pixels that differ", "peak, ours", "peak, other")  # fmt: skip
    table = report.Table(head, caption="Per picture")
    with one_thread():
        for case in _cases():
            for size in sizes:
                for batch in batches:
                    _measure(case, size, batch, options, table)
    notes = (
        "Ours maps float pictures to float pictures, as nodes do; the other library maps "
        "bytes to bytes, one picture at a time; *as a node* includes the conversion from float and back.",
        "Both use one thread. Peak: the largest growth of the process during one call.",
    )
    return report.Section(options.key("annotators"), "Weight-free annotators", [table], notes)


def _measure(case: Case, size: int, batch: int, options: Options, table: report.Table) -> None:
    taken = photographs(size, batch)
    batched = pictures(taken, options.device)

    def as_node() -> torch.Tensor:
        values = batched.movedim(1, -1).cpu().numpy()
        made = [case.theirs((value * 255).round().astype(np.uint8)) for value in values]
        return torch.from_numpy(np.stack(made)).to(options.device).float() / 255

    turns = {
        "ours": lambda: timed(lambda: case.ours(batched), options.device),
        "theirs": lambda: timed(lambda: [case.theirs(photograph) for photograph in taken], options.device),
        "as a node": lambda: timed(as_node, options.device),
    }
    for warm_up in turns.values():
        warm_up()
    most = 3 if options.quick else 200
    patience = Patience(min(most, 10), most, 0.0 if options.quick else 10.0 * options.patience, 0.05)
    times = interleave(turns, patience, [("ours", "theirs")])
    ours, theirs = (summarise([1e3 * each / batch for each in times[name]]) for name in ("ours", "theirs"))
    ratio = summarise(ratios(times["ours"], times["theirs"]))
    node = summarise(ratios(times["ours"], times["as a node"]))
    goal = f"≤ {case.goal:g}{' as a node' if case.as_node else ''}"
    holds = report.verdict(node if case.as_node else ratio, case.goal)
    peaks = [report.megabytes(probe.extra_memory(turns[name])) for name in ("ours", "theirs")]
    expected = np.stack([case.theirs(photograph) for photograph in taken])
    got = (case.ours(batched) * 255).round().byte().movedim(1, -1).cpu().numpy()
    differing = int((got.reshape(*expected.shape, -1) != expected[..., None]).sum()) if expected.ndim == 4 else int(
        (got[..., 0] != expected).sum())  # fmt: skip
    table.add(f"{case.name} / {case.library}", f"{size}×{size}", batch, f"{ours.median:.2f}", f"{theirs.median:.2f}",
              report.spread(ratio, 2), report.spread(node, 2), goal, holds, differing, *peaks)  # fmt: skip


def _cases() -> list[Case]:
    # OpenCV comes with the test tools.
    import cv2

    def cells(photograph: Bytes) -> Bytes:
        height, width = photograph.shape[:2]
        small = cv2.resize(photograph, (width // 64, height // 64), interpolation=cv2.INTER_CUBIC)
        return cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)

    return [
        Case("canny", "OpenCV", canny, lambda photograph: cv2.Canny(photograph, 100, 200), 3.0),
        Case("canny, L2", "OpenCV", lambda pictures: canny(pictures, 100, 200, True),
             lambda photograph: cv2.Canny(photograph, 100, 200, L2gradient=True), 3.0),
        Case("palette", "OpenCV", palette, cells, 1.0, as_node=True),
        Case("gray", "Pillow", gray, lambda photograph: np.asarray(Image.fromarray(photograph).convert("L")), 1.0,
             as_node=True),
    ]  # fmt: skip
