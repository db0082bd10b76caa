"""Parquet files that are whole or refused: written atomically, sealed with a digest of every byte.

Parquet's own page checksums leave page headers and the footer unprotected, where a flipped bit can change values
unnoticed. The digest stands in the footer's metadata and is computed with zeros in its own place.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from unlearnbench.system import regular_files
from unlearnbench.system.errors import UnreadableError
from unlearnbench.system.printing import complain

LARGEST = 2**31  # bytes of any file here; a leaderboard of a million rows has a tenth of them
_KEY = b"unlearnbench.sha256"
_BLANK = b"0" * 64
_CAN_NOT_SYNC = {
    errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY, errno.EBADF, errno.EACCES, errno.EPERM,
    errno.EISDIR,
}  # fmt: skip
_SEAL = re.compile(re.escape(_KEY) + rb".{2}([0-9a-f]{64})", re.DOTALL)  # .{2}: Thrift's type and length


def write_parquet(table: pa.Table, path: str | os.PathLike[str], about: Mapping[str, str] | None = None) -> None:
    """Write or replace a sealed Parquet file; its folder is made. `about` goes into the file's metadata."""
    buffer = io.BytesIO()
    # A record is a few rows and many columns. Statistics would be a third of it, and nobody searches a file so small;
    # compression would make it no smaller. Without both it is read in two thirds of the time.
    with pq.ParquetWriter(
        buffer, table.schema, compression="none", write_statistics=False, write_page_checksum=True
    ) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({**(about or {}), _KEY.decode(): _BLANK.decode()})
    blank = buffer.getvalue()
    seal = _last_seal(blank)
    assert seal is not None
    digest = hashlib.sha256(blank).hexdigest().encode()
    write_atomically(path, blank[: seal.start(1)] + digest + blank[seal.end(1) :])


def read_sealed(path: str | os.PathLike[str], most: int = LARGEST) -> bytes:
    """The content of a file that `write_parquet` wrote, every byte checked.

    Args:
        most: bytes that the file may have; a larger one is refused unread.

    Raises:
        FileNotFoundError: there is none.
        UnreadableError: it exists and can't be read.
        ValueError: it was not written by `write_parquet`, has changed since, or is too large.
    """
    with regular_files.opened(path) as file:
        content = _bounded(file, most)
    seal = _last_seal(content)
    if seal is None:
        raise ValueError("truncated, or not written by unlearnbench")
    whole = memoryview(content)
    digest = hashlib.sha256(whole[: seal.start(1)])
    digest.update(_BLANK)
    digest.update(whole[seal.end(1) :])
    if digest.hexdigest().encode() != seal.group(1):
        raise ValueError("changed since it was written: its SHA-256 does not match")
    return content


def parse(content: bytes, encoded: Sequence[str] = (), most_footer: int | None = None) -> pq.ParquetFile:
    """What `read_sealed` returned, as a Parquet file; the columns `encoded` are read dictionary-encoded.

    Raises:
        ValueError: its columns are described by over `most_footer` bytes, which a reader loads all at once.
    """
    if most_footer is not None and (size := int.from_bytes(content[-8:-4], "little")) > most_footer:
        raise ValueError(f"{size:,} bytes describe its columns; at most {most_footer:,}")
    # From memory and as one file: a path would let folder names like seed=0 be read as columns.
    return pq.ParquetFile(
        pa.BufferReader(content), read_dictionary=list(encoded), page_checksum_verification=True, pre_buffer=False
    )


def open_parquet(path: str | os.PathLike[str]) -> pq.ParquetFile:
    """A sealed Parquet file, read into memory, every byte checked before any is parsed. Raises as `read_sealed`."""
    return parse(read_sealed(path))


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Replace a file's content so that readers, and a machine that loses power, see the old or the new one whole.

    Raises:
        OSError: it can't be written, or what it would replace can't be read, and so is unknown.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        regular_files.check_readable(target)
    except UnreadableError as error:
        raise FileExistsError(errno.EEXIST, f"what is there {error.what}", str(target)) from error
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            _sync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut, where the file system can promise that."""
    try:
        number = os.open(folder, os.O_RDONLY)
    except OSError as error:  # Windows opens no folder
        if error.errno not in _CAN_NOT_SYNC:
            raise
        _say_unsynced()
        return
    try:
        _sync(number)
    finally:
        os.close(number)


def _bounded(file: io.FileIO, most: int) -> bytes:
    """As many bytes as the file's size says: a source without an end says that it has none."""
    size = os.fstat(file.fileno()).st_size
    if size > most:
        raise ValueError(f"{size:,} bytes; such a file has at most {most:,}")
    content = file.read(size)
    while 0 < len(content) < size and (more := file.read(size - len(content))):
        content += more
    return content


def _sync(number: int) -> None:
    """Flush a file or a folder to disk. A full or broken disk is an error; a file system that can't do this (a network
    share, many in user space) is used without it."""
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in _CAN_NOT_SYNC:
            raise
        _say_unsynced()


@cache
def _say_unsynced() -> None:
    """Say it once per process."""
    complain("warning: this file system can't be told to put files on the disk: after a power cut the last may be lost")


def _last_seal(content: bytes) -> re.Match[bytes] | None:
    """The seal lies in the footer; what looks like one before it is data."""
    end = len(content)
    while (start := content.rfind(_KEY, 0, end)) >= 0:
        if seal := _SEAL.match(content, start):
            return seal
        end = start + len(_KEY) - 1
    return None
