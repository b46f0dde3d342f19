"""Check a pickle's instructions before torch follows them: some objects take forever to hash.

A tuple that holds another twice, thirty levels deep, has 2^30 paths. Python follows all of them to hash the tuple as a
key, and such a file has a few hundred bytes. A tuple of a million levels, in a file of two megabytes, ends the process.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from pathlib import Path
from typing import BinaryIO

# A checkpoint of SDXL takes a hundred thousand instructions; its tuples are three deep.
MOST_STEPS, MOST_VISITS, DEEPEST_TUPLES = 5_000_000, 10_000_000, 50
# Everything but the numbers: the pickle of a thousand tensors has some hundred kilobytes.
LARGEST_PICKLE = 1 << 25
# Before torch 1.6 a file began with these: magic number, protocol, system, the object, and its storages.
PICKLES_IN_OLD_FILE = 5
PUTS = ("BINPUT", "LONG_BINPUT")
GETS = ("BINGET", "LONG_BINGET")
# Number of objects that a walk through an object visits, and its depth.
_Weight = tuple[int, int]
_PLAIN: _Weight = (1, 0)


def check_pickles(path: Path) -> None:
    """Refuse a file of torch whose pickle takes too long to follow, or too much of the stack.

    Args:
        path: A zip, or a file from before torch 1.6. torch itself refuses other damage.

    Raises:
        ValueError: Too many instructions, or tuples nested too deep or into each other too often.
    """
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            for _ in range(PICKLES_IN_OLD_FILE):
                _check(file)
        return
    with zipfile.ZipFile(path) as archive:
        # torch also finds the name in upper case.
        for record in archive.infolist():
            if record.filename.lower().endswith("data.pkl"):
                if record.file_size > LARGEST_PICKLE:
                    raise ValueError(f"a pickle of {record.file_size} bytes, more than {LARGEST_PICKLE}")
                _check(io.BytesIO(archive.read(record)))


def _check(file: BinaryIO) -> None:
    """Check the instructions to the end of a pickle, or to the first that torch refuses."""
    stack: list[_Weight | None] = []  # None stands for a mark
    memo: dict[object, _Weight] = {}
    visits = 0
    try:
        for step, (instruction, argument, _) in enumerate(pickletools.genops(file)):
            if step >= MOST_STEPS:
                break
            name = instruction.name
            if name in PUTS:
                memo[argument] = _thing(stack[-1])
            elif name in GETS:
                stack.append(memo[argument])
            elif name == "MARK":
                stack.append(None)
            else:
                taken = _take(stack, instruction)
                visits += sum(weight[0] for weight in taken)
                stack.extend(_nest(taken) if "TUPLE" in name else _PLAIN for _ in instruction.stack_after)
            if visits > MOST_VISITS or (stack and stack[-1] and stack[-1][1] > DEEPEST_TUPLES):
                break
        else:
            return
    except (ValueError, LookupError):
        return
    raise ValueError("tuples nested too deep" if step < MOST_STEPS else f"a pickle of more than {MOST_STEPS} steps")


def _thing(entry: _Weight | None) -> _Weight:
    if entry is None:
        raise LookupError("a mark")
    return entry


def _take(stack: list[_Weight | None], instruction: pickletools.OpcodeInfo) -> list[_Weight]:
    """Pop the operands of an instruction from the stack."""
    before = instruction.stack_before
    taken = []
    if pickletools.markobject in before:
        while (entry := stack.pop()) is not None:
            taken.append(entry)
        before = before[: before.index(pickletools.markobject)]
    taken += [_thing(stack.pop()) for _ in before]
    return taken


def _nest(inner: list[_Weight]) -> _Weight:
    """Return the weight of a tuple of these."""
    return 1 + sum(visits for visits, _ in inner), 1 + max((depth for _, depth in inner), default=0)
