"""Find tar shards by pattern, and list their samples from the headers without unpacking."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from .errors import TrainingError
from .patterns import expand
from .samples import IN_SHARDS, SHARD, FilePart, Listing, Skipped, gather, list_folder
from .tables import ANY_FORMAT, MAYBE, TABLES, TableReader

SUFFIX = f".{SHARD}"
PARQUET = ".parquet"
REPACK = "Correct the path, or repack the shards without compression."


def list_data(places: Sequence[str], told: str = ANY_FORMAT) -> Listing:
    """List the samples of folders and shards.

    Args:
        places: Folders of pictures or shards, single shards or parquet files, and patterns of them.
        told: The only format of tables to read, a name of :data:`.tables.TABLE_FORMATS`; by default all.

    Returns:
        All samples in the order of the places.

    Raises:
        TrainingError: A place does not exist, or is none of these; or no table is in the given format.
    """
    reader = TableReader(told)
    listing = Listing.joined(_list(Path(name).expanduser(), reader) for place in places for name in expand(place))
    if told != ANY_FORMAT and not reader.used:
        raise TrainingError(
            "data_format",
            f"no table in the format {told}{f' ({listing.skipped[0]})' if listing.skipped else ''}",
            "a data set in this format",
            "Choose another data_format, or omit it: the command then recognises each file.",
            says=f"The data set has no table in the format {told}.",
        )
    return listing


def _list(place: Path, reader: TableReader) -> Listing:
    if place.is_dir():
        shards = sorted(path for path in place.iterdir() if path.suffix.lower() == SUFFIX and path.is_file())
        return Listing.joined([list_folder(place, reader), *(list_shard(shard, reader) for shard in shards)])
    if place.suffix.lower() == SUFFIX and place.is_file():
        return list_shard(place, reader)
    if place.suffix.lower() == PARQUET and place.is_file():
        stat = place.stat()
        return gather([FilePart(place.name, place, stat.st_size, 0, stat.st_mtime_ns)], reader=reader)
    found = "a file that is not a .tar or .parquet" if place.is_file() else "nothing there"
    # A table alone does not tell where its pictures are.
    fix = "Name the folder of its pictures." if place.suffix.lower()[1:] in (*TABLES, MAYBE) else REPACK
    raise TrainingError(
        f"data, {place}",
        found,
        "a folder of pictures, parquet files, or tar shards (.tar, not compressed) such as shards/{000..123}.tar",
        fix,
        says=f"The data set {place} is not a folder, a tar file or a parquet file.",
    )


def list_shard(path: Path, reader: TableReader | None = None) -> Listing:
    """List the samples of a tar file from its headers.

    Args:
        path: An uncompressed tar file whose members are in the order of their samples.
        reader: Reads the tables; by default those of all formats.

    Returns:
        The samples, named after the shard; only those before the damage if it is damaged.
    """
    parts: list[FilePart] = []
    skipped: list[Skipped] = []
    try:
        with tarfile.open(path, "r:") as tar:
            for member in _members(tar, path):
                (parts if isinstance(member, FilePart) else skipped).append(member)  # type: ignore[arg-type]
            if _ends_early(tar, path):
                skipped.append(Skipped(path.name, f"damaged after {parts[-1].name if parts else 'its beginning'}"))
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        skipped.append(Skipped(path.name, f"damaged after {parts[-1].name if parts else 'its beginning'} ({error})"))
    listing = gather(parts, f"{path.stem}/", IN_SHARDS, reader)
    return Listing(listing.samples, (*listing.skipped, *skipped))


def _members(tar: tarfile.TarFile, path: Path) -> Iterator[FilePart | Skipped]:
    changed = path.stat().st_mtime_ns
    for member in tar:
        # Links, devices and sparse files have no bytes of their own.
        own = member.isreg() and member.sparse is None
        if not own and not member.isdir():
            yield Skipped(f"{path.name}, {member.name}", "a link or a special file: store the file itself in the shard")
        if own:
            yield FilePart(member.name.removeprefix("./"), path, member.size, member.offset_data, changed)


def _ends_early(tar: tarfile.TarFile, path: Path) -> bool:
    """Return whether the last member is followed by other bytes than the zeros that end a tar file."""
    with path.open("rb") as file:
        file.seek(tar.offset)
        return tar.offset > path.stat().st_size or any(file.read(tarfile.BLOCKSIZE))
