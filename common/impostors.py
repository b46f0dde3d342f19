"""Files saved under a model's name that are something else: Git LFS pointers, web pages, server messages, shards."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from .errors import FileErrors, PackError

FETCH_AGAIN = "Download the file again."
# Enough for a page's title; a shorter file of plain text is a message.
LOOKED_AT = 4096
_LONGEST_WORDS = 80


@dataclass(frozen=True)
class Impostor:
    """A file that a failed download leaves in place of a model.

    Attributes:
        pattern: Matches its beginning. A group is quoted in the message.
        found: Its name in messages.
        fix: What the user should do.
        says: The sentence that begins the message.
    """

    pattern: re.Pattern[bytes]
    found: str
    fix: str
    says: str


IMPOSTORS = (
    Impostor(
        re.compile(rb"version https://git-lfs"),
        "a Git LFS pointer, the note that stands for the model in its repository, not the model itself",
        f"{FETCH_AGAIN[:-1]}, with the download button of its page, or run `git lfs pull` in the repository.",
        "This file only points to the model: Git LFS did not fetch it.",
    ),
    Impostor(
        re.compile(
            rb"\s*(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|head|body|\?xml)(?:.*?<title[^>]*>(.*?)</title>)?", re.I | re.S
        ),
        "a web page saved under the model's name",
        f"{FETCH_AGAIN} The page may say why it came instead: a login, a licence to accept, a wrong address.",
        "This file is a web page, not a model.",
    ),
    Impostor(
        re.compile(rb"([\t\n\r\x20-\x7e]{2,})\Z"),
        "a short text saved under the model's name, perhaps a server's message",
        f"{FETCH_AGAIN} The text may say why it came instead.",
        "This file is a short text, not a model.",
    ),
)

# How diffusers and transformers name the shards of a model.
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.\w+$")
INDEX = ".index.json"


def check_is_weights(path: Path, errors: FileErrors) -> None:
    """Refuse a file that is not a whole model, judging by its first bytes and its name.

    Args:
        path: The file.
        errors: The classes to raise.

    Raises:
        PackError: Of ``errors.damaged``: it is a pointer, a page or a message, or it can't be read.
            Of ``errors.foreign``: it is a shard of a model.
    """
    part = _PART.search(path.name)
    if part is not None and int(part[2]) > 1:
        raise _in_parts(str(path), errors, f"part {int(part[1])} of {int(part[2])} of a model that was saved in parts")
    try:
        with path.open("rb") as file:
            start = file.read(LOOKED_AT)
    except PermissionError as error:
        raise errors.damaged(
            str(path),
            "no permission to read it",
            "a readable file",
            "Change its permissions.",
            says="You have no permission to read this file.",
        ) from error
    for row in IMPOSTORS:
        found = row.pattern.match(start)
        if found is not None:
            words = " ".join((found[1] if row.pattern.groups and found[1] else b"").decode("utf-8", "replace").split())
            quoted = f" ('{words[:_LONGEST_WORDS]}{'…' if len(words) > _LONGEST_WORDS else ''}')" if words else ""
            raise errors.damaged(str(path), f"{row.found}{quoted}", "a weights file", row.fix, says=row.says)


def parts_in_folder(folder: Path, errors: FileErrors) -> PackError | None:
    """Return the error for a folder with a sharded model, or None."""
    if any(_PART.search(path.name) or path.name.endswith(INDEX) for path in folder.iterdir()):
        return _in_parts(str(folder), errors, "a model that was saved in parts (sharded)")
    return None


def _in_parts(where: str, errors: FileErrors, found: str) -> PackError:
    return errors.foreign(
        where,
        found,
        "one whole file",
        "Put it together with diffusers: T2IAdapter.from_pretrained(folder), then save_pretrained(new_folder, "
        "max_shard_size='10GB').",
        says="This model is stored in several files, and this is only a part of it.",
    )
