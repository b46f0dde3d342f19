"""Start several processes by accelerate, and read what a launcher decides for the command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..training.distributed import COUNTS, no_accelerate
from ..training.errors import TrainingError
from ..training.settings import PRECISIONS
from .options import Options

# Variable set by every `accelerate launch`; "no" is also its default.
MIXED_PRECISION, NO_MIXING = "ACCELERATE_MIXED_PRECISION", "no"
_MAIN = Path(__file__).absolute().with_name("__main__.py")


def is_launched(environ: Mapping[str, str]) -> bool:
    """Return whether a launcher has started this process."""
    return any(name in environ for name in (MIXED_PRECISION, *COUNTS))


def adopt_precision(options: Options, environ: Mapping[str, str]) -> tuple[Options, str]:
    """Take the precision that the launcher asks for, unless the user has chosen one for the command.

    Args:
        options: The user's choices.
        environ: Environment variables.

    Returns:
        The options, and a line for the user; empty if there is nothing to say.

    Raises:
        TrainingError: The launcher asks for a precision that training does not have.
    """
    asked = environ.get(MIXED_PRECISION, NO_MIXING)
    if asked in (NO_MIXING, options.precision):
        return options, ""
    if options.precision is not None:
        return options, f"accelerate asks for {asked}; --precision {options.precision} overrides it."
    if asked not in [row.name for row in PRECISIONS]:
        raise TrainingError(
            "accelerate launch --mixed_precision",
            asked,
            ", ".join([NO_MIXING, *(row.name for row in PRECISIONS if row.autocast is not None)]),
            "Choose one of them, or give --precision.",
            says=f"Adapters can't be trained in {asked}.",
        )
    return replace(options, precision=asked), f"Precision: {asked}, as accelerate asks."


def start_processes(count: int, arguments: Sequence[str], script: Path = _MAIN) -> int | None:
    """Run the command in several processes on this machine, and wait for them.

    Args:
        count: Number of processes.
        arguments: The words after the program's name.
        script: The program.

    Returns:
        0 when all have finished, 1 after an error that they have logged; None after a signal, when they have stopped.

    Raises:
        TrainingError: ``accelerate`` is not installed.
    """
    try:
        from accelerate.commands.launch import launch_command, launch_command_parser
    except ImportError as error:
        raise no_accelerate(count) from error
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    # Without GPUs, --multi_gpu starts processes on the CPU.
    words = ["--multi_gpu", "--num_processes", str(count), "--num_machines", "1", "--main_process_port", "0"]
    words += ["--mixed_precision", NO_MIXING, "--dynamo_backend", "no", str(script), *arguments]
    try:
        launch_command(launch_command_parser().parse_args(words))
    except ChildFailedError:
        return 1
    except SignalException:
        return None
    return 0
