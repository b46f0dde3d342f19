"""Show the progress of a run: the held-out loss, validation pictures, and reports to trackers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..adapter_models.hint import fit_to
from ..nodes import host
from ..nodes.apply import ApplyT2IAdapter
from ..nodes.training.run import paused
from ..training.buckets import PixelSize, bucket_for, bucket_sizes
from ..training.cached_dataset import CachedSet
from ..training.checkpoints import write_whole
from ..training.errors import TrainingError
from ..training.loop import AfterStep
from ..training.parts import SampleError
from ..training.pictures import decode
from ..training.session import TrainingSession
from ..training.trackers import Tracker, check_trackers, open_trackers
from ..training.validation import HELD_OUT_LOSS, at_intervals, held_out_loss
from .encode import LoadedCheckpoint, wording_of
from .options import Options

# Folder of the validation pictures in the run's folder.
VALIDATION = "validation"
SAMPLER = host.SamplerSettings("ddim", "normal", 20, 7.5)


@dataclass(frozen=True, eq=False)
class PictureCase:
    """A condition image and a prompt, from which pictures are made at intervals.

    Attributes:
        number: Its place among the user's, from 1.
        image: Condition image (1, H, W, 3) in [0, 1], of the picture's size.
        prompt: CONDITIONING.
    """

    number: int
    image: Tensor
    prompt: Any

    @property
    def size(self) -> PixelSize:
        """Height and width of the picture."""
        return self.image.shape[1], self.image.shape[2]


def check_validation(options: Options) -> None:
    """Check the options of validation before any work.

    Args:
        options: The user's choices.

    Raises:
        TrainingError: Images and prompts don't pair up, an image does not exist, or a tracker's package is missing.
    """
    images, prompts = len(options.validation_image), len(options.validation_prompt)
    if images != prompts and (1 not in (images, prompts) or 0 in (images, prompts)):
        raise TrainingError(
            "validation_image",
            f"{images}, and {prompts} of validation_prompt",
            "as many images as prompts, or one of the two for all of the other",
            "Give each condition image its prompt, in the same order.",
            says="The validation images and prompts don't pair up.",
        )
    for path in options.validation_image:
        if not path.is_file():
            raise TrainingError(
                "validation_image",
                f"{path}, and no such file",
                "a condition image",
                "Correct the path.",
                says=f"The validation image {path} does not exist.",
            )
    check_trackers(options.report_to)


def picture_cases(options: Options, checkpoint: LoadedCheckpoint) -> list[PictureCase]:
    """Read the condition images and encode the prompts.

    Args:
        options: The user's choices, checked.
        checkpoint: The checkpoint, whose text encoder is still at hand.

    Raises:
        TrainingError: An image can't be read.
    """
    images = [_read(path, bucket_sizes(options.resolution)) for path in options.validation_image]
    write = wording_of(options.prompt_weights).write
    prompts = [host.encode_prompt(checkpoint.clip, write(text)) for text in options.validation_prompt]
    count = max(len(images), len(prompts))
    pairs = zip(images * (count // max(1, len(images))), prompts * (count // max(1, len(prompts))), strict=True)
    return [PictureCase(number, image, prompt) for number, (image, prompt) in enumerate(pairs, 1)]


def _read(path: Path, sizes: Sequence[PixelSize]) -> Tensor:
    try:
        image = decode(str(path), path.read_bytes())
    except (SampleError, OSError) as error:
        raise TrainingError(
            "validation_image",
            str(error),
            "a condition image",
            "Use another file.",
            says=f"The validation image {path} can't be read.",
        ) from error
    size = bucket_for((image.shape[-2], image.shape[-1]), sizes)
    return fit_to(image, size, "crop").clamp(0, 1).movedim(1, -1)


class ValidationPictures:
    """Makes each case's picture without and with the adapter trained so far, by ComfyUI's sampler.

    All pictures of a case start from the same noise. Several processes share the work.

    Args:
        session: The run, started.
        model: The MODEL in training.
        checkpoint: The checkpoint that it is from.
        cases: The cases.
        trackers: Where to report the pictures, in the first process.
    """

    def __init__(
        self,
        session: TrainingSession,
        model: Any,
        checkpoint: LoadedCheckpoint,
        cases: Sequence[PictureCase],
        trackers: Sequence[Tracker],
    ) -> None:
        self._session, self._model, self._vae = session, model, checkpoint.vae
        self._cases, self._trackers = cases, trackers
        with torch.no_grad():
            self._negative = host.encode_prompt(checkpoint.clip, "")
        # The bare model's pictures never change.
        self._bare: dict[int, Tensor] = {}

    def __call__(self, step: int) -> None:
        """Write the pictures of a step, each beside its condition image, and report them.

        Args:
            step: Steps made.

        Raises:
            CheckpointError: A file can't be written.
        """
        processes = self._session.processes
        with paused(self._model):
            adapter = self._session.result()
            for case in self._cases[processes.index :: processes.count]:
                if case.number not in self._bare:
                    self._bare[case.number] = self._sampled(self._model, case)
                model = ApplyT2IAdapter.execute(self._model, adapter, case.image)[0]
                _write(self._path(case, step), [case.image, self._bare[case.number], self._sampled(model, case)])
        processes.wait()
        for case in self._cases if self._trackers else ():
            with Image.open(self._path(case, step)) as picture:
                for tracker in self._trackers:
                    tracker.pictures(f"{VALIDATION}/{case.number}", np.asarray(picture)[None], step)

    def _sampled(self, model: Any, case: PictureCase) -> Tensor:
        seed = self._session.plan.settings.seed
        prompts = (case.prompt, self._negative)
        picture: Tensor = host.sample_picture(model, self._vae, prompts, case.size, seed, SAMPLER)
        return picture

    def _path(self, case: PictureCase, step: int) -> Path:
        return self._session.plan.folder / VALIDATION / f"{case.number}_step_{step:08}.png"


def _write(path: Path, pictures: Sequence[Tensor]) -> None:
    """Write pictures (1, H, W, 3) side by side."""
    row = torch.cat(list(pictures), dim=2)[0]
    values: NDArray[np.uint8] = (row * 255).round().to(torch.uint8).numpy()
    write_whole(path, partial(Image.fromarray(values).save, format="PNG"))


@contextlib.contextmanager
def progress_shown(
    session: TrainingSession,
    options: Options,
    model: Any,
    checkpoint: LoadedCheckpoint,
    shown: tuple[CachedSet | None, Sequence[PictureCase]],
) -> Iterator[list[AfterStep]]:
    """Open the trackers of a run, and yield what validates it after its steps.

    Args:
        session: The run, started.
        options: The user's choices.
        model: The MODEL in training.
        checkpoint: The checkpoint that it is from.
        shown: The held-out examples, or None, and the cases for pictures.
    """
    held_out, cases = shown
    settings, names = session.plan.settings, options.report_to if session.processes.first else ()
    trackers = open_trackers(names, session.plan.folder, asdict(settings), session.trainer.step)
    session.logs.extend(trackers)
    calls: list[AfterStep] = []
    if held_out is not None:

        def measure(_step: int) -> None:
            session.values[HELD_OUT_LOSS] = held_out_loss(session.trainer, held_out)

        calls.append(at_intervals(options.validate_every, settings.steps, measure))
    if cases:
        pictures = ValidationPictures(session, model, checkpoint, cases, trackers)
        calls.append(at_intervals(options.validate_every, settings.steps, pictures))
    try:
        yield calls
    finally:
        for tracker in trackers:
            tracker.close()
