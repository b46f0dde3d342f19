"""From the command line to an exit status."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from ..common.errors import PackError
from ..training.distributed import join
from . import comfyui
from .evaluation.options import parse_evaluation
from .launcher import adopt_precision, is_launched, start_processes
from .messages import in_options, tell_once
from .options import parse

_PACK = Path(__file__).absolute().parents[1]
_log = logging.getLogger(__name__)
# The status that shells report for a program ended by Ctrl-C.
INTERRUPTED = 130


def main(arguments: Sequence[str]) -> int:
    """Run one of the commands.

    Args:
        arguments: The words after the program's name.

    Returns:
        0 when the result is finished, 1 after an error that is logged, 130 when the user has stopped the run; 0 then
        too if a launcher has started this process, because it would report a failure and end the other processes.
    """
    parser = argparse.ArgumentParser(prog="cli", description="Commands of the T2I-Adapter pack.")
    parser.add_argument(
        "command",
        choices=COMMANDS,
        help="train: train an adapter; evaluate: measure adapters; --help after either lists its options",
    )
    return COMMANDS[parser.parse_args(arguments[:1]).command](arguments[1:])


def train_command(arguments: Sequence[str]) -> int:
    """Train as the arguments say; see :func:`main` for the status."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger(__name__.rpartition(".")[0]).setLevel(logging.INFO)
    launched = is_launched(os.environ)
    try:
        options, note = adopt_precision(parse(arguments), os.environ)
        if options.processes > 1 and not launched:
            status = start_processes(options.processes, ["train", *arguments])
            return INTERRUPTED if status is None else status
        cpu = comfyui.wants_cpu(options.cpu, os.environ)
        folder = comfyui.find(options.comfyui, os.environ, _PACK)
        # Before ComfyUI: this chooses the GPU of the process, which ComfyUI then uses.
        processes = join(cpu)
        comfyui.use(folder, cpu)
        # Not before: it imports ComfyUI.
        from . import run

        tell_once(processes, note)
        try:
            run.train_run(options, processes)
        except run.StoppedError as stopped:
            tell_once(processes, f"{stopped}. Repeat the command to resume.")
            return 0 if launched else INTERRUPTED
        finally:
            processes.leave()
    except PackError as error:
        _log.error("%s", in_options(error))
        return 1
    except KeyboardInterrupt:
        _log.error("Interrupted. Repeat the command to continue with what is done.")
        return INTERRUPTED
    return 0


def evaluate_command(arguments: Sequence[str]) -> int:
    """Evaluate as the arguments say; see :func:`main` for the status."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger(__name__.rpartition(".")[0]).setLevel(logging.INFO)
    try:
        options = parse_evaluation(arguments)
        cpu = comfyui.wants_cpu(options.cpu, os.environ)
        folder = comfyui.find(options.comfyui, os.environ, _PACK)
        processes = join(cpu)
        comfyui.use(folder, cpu)
        # Not before: it imports ComfyUI.
        from .evaluation.begin import evaluate_run

        try:
            evaluate_run(options, processes)
        finally:
            processes.leave()
    except PackError as error:
        _log.error("%s", in_options(error))
        return 1
    except KeyboardInterrupt:
        _log.error("Interrupted. Repeat the command to continue with what is done.")
        return 0 if is_launched(os.environ) else INTERRUPTED
    return 0


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {"train": train_command, "evaluate": evaluate_command}
