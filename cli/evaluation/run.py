"""A run of the evaluate command: inputs, pictures, scores, and the report."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ...training.cached_dataset import nothing_to_learn
from ...training.distributed import Processes
from ...training.recipe import digest
from ...training.samples import Sample, SampleError, Skipped
from ..settings_file import WRITTEN, repeating
from .contenders import REAL, Contender
from .controls import Parts
from .errors import EvaluationError
from .inputs import EvaluationInput, InputFolder
from .judges import PictureJudge
from .options import EvaluationOptions
from .quality import InceptionNetwork, set_distances
from .report import FIXED_SHEET, WORST_SHEET, report_page
from .results import WORST, Scored, collect_results
from .sheets import write_sheet
from .storing import picture_key, read_planes, write_json, write_picture

_log = logging.getLogger(__name__)
PICTURE_FOLDER = "pictures"


@dataclass(frozen=True)
class Evaluation:
    """An evaluation in progress.

    Attributes:
        options: The user's choices.
        processes: The processes that share the work; each takes every so many samples.
        folder: Folder of everything.
        samples: The samples.
        skipped: Files of the data set that are not part of a sample.
        condition: What the maps show.
        inputs: The samples as inputs.
        rows: The rows of the table.
        judges: The measures; the first is of the control.
        inception: The network of FID and KID; None if they are not measured.
    """

    options: EvaluationOptions
    processes: Processes
    folder: Path
    samples: Sequence[Sample]
    skipped: Sequence[Skipped]
    condition: str
    inputs: InputFolder
    rows: Sequence[Contender]
    judges: Sequence[PictureJudge]
    inception: InceptionNetwork | None

    def run(self) -> None:
        """Make and measure what is missing, and write the report.

        Raises:
            AdapterError: No sample can be used, or processes were started differently; or a subclass.
        """
        self.processes.agree({"evaluation": digest([len(self.samples), *(dict(row.facts) for row in self.rows)])})
        share = range(self.processes.index, len(self.samples), self.processes.count)
        mine = list(self._prepared(share))
        if mine:
            # An annotator without weights is found now, not after hours of drawing.
            self.judges[0].score(mine[0], mine[0].picture())
        for row in self.rows:
            if row.label != REAL:
                self._draw(row, mine)
        for row in self.rows:
            self._judge(row, mine)
        self.processes.wait()
        if self.processes.first:
            self._report()

    def _prepared(self, share: Sequence[int]) -> Iterator[EvaluationInput]:
        for index in self._bar(share, "Preparing"):
            try:
                yield self.inputs.prepare(index, self.samples[index])
            except SampleError as error:
                self.inputs.leave_out(index, self.samples[index].name, str(error))

    def _draw(self, row: Contender, mine: Sequence[EvaluationInput]) -> None:
        missing = [one for one in mine if picture_key(self.file_of(row, one)) != drawn_key(row, one)]
        for one in self._bar(missing, f"Drawing, {row.label}"):
            write_picture(self.file_of(row, one), row.draw(one), drawn_key(row, one))

    def _judge(self, row: Contender, mine: Sequence[EvaluationInput]) -> None:
        missing = [one for one in mine if not all(self._kept_parts(row, one))]
        for one in self._bar(missing, f"Measuring, {row.label}"):
            file = self.file_of(row, one)
            picture = read_planes(file)
            for judge in self.judges:
                judge.judge(one, picture, file.with_suffix(".json"), drawn_key(row, one))

    def _kept_parts(self, row: Contender, one: EvaluationInput) -> list[Parts]:
        kept, drawn = self.file_of(row, one).with_suffix(".json"), drawn_key(row, one)
        return [judge.parts(kept, drawn) for judge in self.judges]

    def _bar(self, work: Sequence[Any], what: str) -> Any:
        return tqdm(work, desc=what, unit="picture", disable=not (self.processes.first and work))

    def file_of(self, row: Contender, one: EvaluationInput) -> Path:
        """Return the file of a picture; real ones are among the inputs."""
        if row.label == REAL:
            return one.folder / "real" / one.file
        return self.folder / PICTURE_FOLDER / row.folder / one.made_file

    def _report(self) -> None:
        found = [one for index in range(len(self.samples)) if (one := self.inputs.load(index)) is not None]
        left_out = [*self.skipped, *self.inputs.left_out(len(self.samples))]
        if not found:
            raise nothing_to_learn(left_out)
        if left_out:
            _log.warning("%d left out; report.json names them. The first: %s", len(left_out), left_out[0])
        scored = self._scored(found)
        columns = [column for judge in self.judges for column in judge.columns]
        result = {**self._facts(found, left_out), **collect_results(scored, columns)}
        worst = [found[place] for place in result["worst"]]
        result["worst"] = [one.name for one in worst]
        write_json(self.folder / "report.json", without_nan(result))
        page = report_page(result, columns, [judge.explained for judge in self.judges])
        for name, chosen in ((FIXED_SHEET, found[:WORST]), (WORST_SHEET, worst)):
            self._sheet(self.folder / name, chosen)
        for name, text in (("report.md", page), (WRITTEN, repeating(self.options))):
            (self.folder / name).write_text(text, encoding="utf-8", errors="replace")
        _log.info("%s", page.partition("\n\n## ")[0])
        _log.info("Finished: %s", self.folder / "report.md")

    def _scored(self, found: Sequence[EvaluationInput]) -> list[Scored]:
        real = self.rows[0]
        inception = self.inception
        true = None if inception is None else inception.features([self.file_of(real, one) for one in found])
        scored = []
        for row in self.rows:
            parts = [self._parts(row, one) for one in found]
            distances: dict[str, float] = {}
            if inception is not None and row.label != REAL:
                features = inception.features([self.file_of(row, one) for one in found])
                distances = set_distances(features, true)
            scored.append(Scored(row, parts, distances))
        return scored

    def _parts(self, row: Contender, one: EvaluationInput) -> dict[str, list[float]]:
        found = self._kept_parts(row, one)
        if not all(found):
            raise EvaluationError(
                f"{row.label}, {one.file}",
                "no scores",
                "scores of every picture",
                "Repeat the command: it makes what is missing.",
                says="Some pictures are not measured yet.",
            )
        return {name: values for parts in found for name, values in parts.items()}

    def _sheet(self, path: Path, chosen: Sequence[EvaluationInput]) -> None:
        headings = [self.rows[0].label, "map", *(row.label for row in self.rows[1:])]
        rows = [
            [self.file_of(self.rows[0], one), one.folder / "maps" / one.file,
             *(self.file_of(row, one) for row in self.rows[1:])]
            for one in chosen
        ]  # fmt: skip
        write_sheet(path, headings, rows)

    def _facts(self, found: Sequence[EvaluationInput], left_out: Sequence[Skipped]) -> dict[str, Any]:
        own = sum(one.own_map for one in found)
        unmeasured = []
        if self.options.clip_model is None:
            unmeasured.append("The CLIP score is not measured: give `--clip-model`.")
        if self.inception is None:
            unmeasured.append("FID and KID are not measured: give `--inception`.")
        return {
            "name": self.folder.name,
            "condition": self.condition,
            "samples": len(found),
            "maps": f"{own} maps of the data set, {len(found) - own} drawn by the annotator",
            "adapter": next(row.label for row in self.rows if row.adapter),
            "settings": {**plain_options(self.options), "torch": torch.__version__},
            "left_out": [str(one) for one in left_out],
            "unmeasured": unmeasured,
        }


def plain_options(options: EvaluationOptions) -> dict[str, Any]:
    """Return the options that are set, as JSON values."""

    def plain(value: Any) -> Any:
        if isinstance(value, tuple):
            return [plain(each) for each in value]
        return str(value) if isinstance(value, Path) else value

    return {name: plain(value) for name, value in asdict(options).items() if value not in (None, (), "")}


def drawn_key(row: Contender, one: EvaluationInput) -> str:
    """Return the digest of what a picture is made from."""
    return digest([dict(row.facts), one.content, one.seed])


def without_nan(value: Any) -> Any:
    """Return JSON values with null for NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {name: without_nan(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value
