"""From the command line to an exit status."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from ..adapter_models.errors import AdapterError
from ..annotators.errors import AnnotatorError
from ..training.distributed import join
from . import comfyui
from .options import parse

PACK = Path(__file__).absolute().parents[1]
logger = logging.getLogger(__name__)
# As shells report a program that Ctrl-C has ended.
INTERRUPTED = 130


def main(arguments: Sequence[str]) -> int:
    """Run one of the commands.

    Args:
        arguments: All after the program's name.

    Returns:
        0 when the adapter is finished, 1 after an error that is told, 130 when the user has stopped it.
    """
    parser = argparse.ArgumentParser(prog="cli", description="Commands of the T2I-Adapter pack.")
    parser.add_argument("command", choices=COMMANDS, help="train: train an adapter; --help after it lists its options")
    return COMMANDS[parser.parse_args(arguments[:1]).command](arguments[1:])


def train(arguments: Sequence[str]) -> int:
    """Train as the arguments say; see :func:`main` for what is returned."""
    options = parse(arguments)
    logging.basicConfig(format="%(message)s")
    logging.getLogger(__name__.rpartition(".")[0]).setLevel(logging.INFO)
    try:
        cpu = comfyui.wants_cpu(options.cpu, os.environ)
        folder = comfyui.find(options.comfyui, os.environ, PACK)
        # First: it chooses the GPU of this process, which ComfyUI then takes for its own.
        processes = join(cpu)
        comfyui.use(folder, cpu)
        # Not before: it imports ComfyUI.
        from . import run

        try:
            run.train(options, processes)
        except run.StoppedError as stopped:
            logger.info("%s. The same command goes on from there.", stopped)
            return INTERRUPTED
        processes.leave()
    except (AdapterError, AnnotatorError) as error:
        logger.error("%s", error)
        return 1
    except KeyboardInterrupt:
        logger.error("Interrupted. The same command goes on from what is done.")
        return INTERRUPTED
    return 0


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {"train": train}
