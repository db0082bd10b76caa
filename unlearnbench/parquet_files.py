"""Parquet files that are whole or refused: written atomically, sealed with a digest of every byte.

Parquet's own page checksums leave page headers and the footer unprotected, where a flipped bit can change values
unnoticed. The digest stands in the footer's metadata and is computed with zeros in its own place.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

_KEY = "unlearnbench.sha256"
_BLANK = b"0" * 64
_SEAL = re.compile(re.escape(_KEY).encode() + rb".{2}([0-9a-f]{64})", re.DOTALL)  # .{2}: Thrift's type and length


def write_parquet(table: pa.Table, path: str | os.PathLike[str], about: Mapping[str, str] | None = None) -> None:
    """Write or replace a sealed Parquet file; its folder is made. `about` goes into the file's metadata."""
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, table.schema, compression="zstd", write_page_checksum=True) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({**(about or {}), _KEY: _BLANK.decode()})
    blank = buffer.getvalue()
    *_, seal = _SEAL.finditer(blank)
    digest = hashlib.sha256(blank).hexdigest().encode()
    write_atomically(path, blank[: seal.start(1)] + digest + blank[seal.end(1) :])


def open_parquet(path: str | os.PathLike[str], encoded: Sequence[str] | None = None) -> pq.ParquetFile:
    """A sealed Parquet file, read into memory, every byte checked before any is parsed.

    Args:
        path: the file.
        encoded: columns to read dictionary-encoded.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it was not written by `write_parquet`, or has changed since.
        OSError: it can't be read.
    """
    content = Path(path).read_bytes()
    seals = list(_SEAL.finditer(content))
    if not seals:
        raise ValueError("truncated, or not written by unlearnbench")
    seal = seals[-1]
    blank = content[: seal.start(1)] + _BLANK + content[seal.end(1) :]
    if hashlib.sha256(blank).hexdigest().encode() != seal.group(1):
        raise ValueError("changed since it was written: its SHA-256 does not match")
    # From memory and as one file: a path would let folder names like seed=0 be read as columns.
    return pq.ParquetFile(
        pa.BufferReader(content), read_dictionary=list(encoded or ()), page_checksum_verification=True
    )


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Replace a file's content so that readers, and a machine that loses power, see the old or the new one whole."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
