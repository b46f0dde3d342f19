"""The options of the train command that choose samples from the data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated

from ..training.cached_dataset import nothing_to_learn
from ..training.errors import TrainingError
from ..training.parts import Listing
from ..training.selection import Selection, select, with_mirrored
from ..training.shards import list_data
from ..training.tables import ANY_FORMAT, TABLE_FORMATS
from ..training.validation import split_listing
from .option_rows import Option

DATA = "training data"


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Which samples of the data set are trained on."""

    data_format: Annotated[
        str,
        Option(
            DATA,
            "read only tables of this format; auto (default) reads all, and recognises each by its content",
            choices=(ANY_FORMAT, *TABLE_FORMATS),
        ),
    ] = ANY_FORMAT
    caption: Annotated[
        str | None, Option(DATA, "one caption for all pictures, in place of their own", metavar="TEXT")
    ] = None
    caption_from_name: Annotated[
        bool, Option(DATA, "the caption of a picture without one is its file's name, with spaces for _ and -")
    ] = False
    max_samples: Annotated[
        int | None,
        Option(
            DATA,
            "use at most this many samples, chosen by their names; a larger number keeps them and adds others",
            metavar="COUNT",
            least=1,
        ),
    ] = None
    min_size: Annotated[
        int, Option(DATA, "leave out pictures with a shorter side than this; default 0", metavar="PIXELS", least=0)
    ] = 0
    flip: Annotated[
        bool,
        Option(
            DATA,
            "train on a mirrored copy of each picture and its map too; not for captions that name left or right, and "
            "refused for pose maps of your own",
        ),
    ] = False

    @property
    def selection(self) -> Selection:
        """What to choose from the data set."""
        return Selection(**{field.name: getattr(self, field.name) for field in fields(Selection)})


def list_samples(
    places: tuple[str, ...], options: DataOptions, held_out_share: float, tell: Callable[[str], None]
) -> tuple[Listing, Listing]:
    """List the samples that the user has chosen, and say how many of the data set they are.

    Args:
        places: See :func:`..training.shards.list_data`.
        options: The user's choices.
        held_out_share: See :func:`..training.validation.split_listing`.
        tell: Shows a line to the user.

    Returns:
        The samples to train on, and the held-out ones.

    Raises:
        TrainingError: A place is no data set, no sample is left, or options exclude each other.
    """
    if options.caption is not None and options.caption_from_name:
        raise TrainingError(
            "caption_from_name",
            "--caption too",
            "one of them",
            "Omit one.",
            says="--caption and --caption-from-name exclude each other.",
        )
    found = list_data(places, options.data_format)
    chosen = select(found, options.selection)
    if len(chosen.samples) < len(found.samples):
        tell(f"{len(chosen.samples)} of {len(found.samples)} samples are used.")
    if not chosen.samples:
        raise nothing_to_learn(chosen.skipped)
    own, held_out = split_listing(chosen, held_out_share)
    # After the split: no held-out picture trains mirrored.
    return with_mirrored(own) if options.flip else own, held_out
