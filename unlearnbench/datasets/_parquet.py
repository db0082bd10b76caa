"""Images in Parquet files as Hugging Face's `datasets` writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from unlearnbench.datasets._decode import EncodedImage
from unlearnbench.datasets._locate import damaged
from unlearnbench.system.errors import InputError
from unlearnbench.system.regular_files import opened

_IMAGE_COLUMNS = ("image", "img")
_LABEL_COLUMNS = ("label", "labels", "fine_label")


class Labels(NamedTuple):
    """Labels as in the files, numbers or names, and the class names that the files give for numbers."""

    values: list[int | str]
    names: Mapping[int, str]


class EncodedImages(NamedTuple):
    """Encoded images and their labels."""

    pictures: list[EncodedImage]
    labels: Labels


def read_rows(files: Sequence[Path]) -> EncodedImages:
    """The rows of some Parquet files, in order.

    The image column is `image` or `img`, binary or a struct with a binary field `bytes`; the label column is `label`,
    `labels` or `fine_label`, whole numbers or text.

    Raises:
        InputError: names the file that is damaged or lacks a column, or the row that lacks a value.
    """
    pictures = [picture for file in files for picture in _read_pictures(file)]
    return EncodedImages(pictures, read_labels(files))


def count_rows(files: Sequence[Path]) -> int:
    """The number of rows of some Parquet files, by their footers. Raises InputError naming a damaged file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = 0
    for file in files:
        try:
            with opened(file) as stream:
                rows += pq.read_metadata(stream).num_rows
        except (pa.ArrowException, OSError) as error:
            raise damaged(file, f"not a readable Parquet file ({error})") from error
    return rows


def read_labels(files: Sequence[Path]) -> Labels:
    """The labels of some Parquet files, in order, without reading images. Raises InputError as `read_rows`."""
    values: list[int | str] = []
    names: dict[int, str] | None = None
    for file in files:
        column, found, metadata = _read_numbers_or_text(file, _LABEL_COLUMNS)
        called = _class_names(metadata, column)
        if names is not None and called != names:
            raise InputError(
                str(file.absolute()), f"names the classes of column {column} otherwise than {files[0].name}"
            )
        names, values = called, [*values, *found]
    kinds = {type(value) for value in values}
    if len(kinds) > 1:
        raise InputError(str(files[0].absolute().parent), "labels are numbers in some rows and text in others")
    return Labels(values, names or {})


def read_column(files: Sequence[Path], column: str) -> list[int | str]:
    """A column of whole numbers or text, over some Parquet files. Raises InputError as `read_rows`."""
    values: list[int | str] = []
    for file in files:
        values.extend(_read_numbers_or_text(file, (column,))[1])
    return values


def _read_pictures(file: Path) -> list[EncodedImage]:
    column, found, _ = _read_column(file, _IMAGE_COLUMNS)
    place, pictures = file.absolute(), []
    for row, image in enumerate(found):
        content = image.get("bytes") if isinstance(image, dict) else image
        if not isinstance(content, bytes):
            raise InputError(f"{place}: row {row}", f"column {column} holds no image bytes")
        pictures.append(EncodedImage(f"{place}: row {row}", content))
    return pictures


def _read_numbers_or_text(file: Path, known: Sequence[str]) -> tuple[str, list[int | str], Mapping[bytes, bytes]]:
    column, found, metadata = _read_column(file, known)
    if not all(isinstance(value, int | str) and not isinstance(value, bool) for value in found):
        raise InputError(str(file.absolute()), f"column {column} must hold whole numbers or text in every row")
    return column, found, metadata


def _read_column(file: Path, known: Sequence[str]) -> tuple[str, list[Any], Mapping[bytes, bytes]]:
    """The first column of a file that has one of the names, its values, and the file's metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with opened(file) as stream:
            schema = pq.read_schema(stream)
            column = next((name for name in known if name in schema.names), None)
            if column is None:
                there = ", ".join(schema.names)
                raise InputError(str(file.absolute()), f"has no column {' or '.join(known)}; it has {there}")
            values = pq.read_table(stream, columns=[column], partitioning=None).column(column).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise damaged(file, f"not a readable Parquet file ({error})") from error
    return column, values, schema.metadata or {}


def _class_names(metadata: Mapping[bytes, bytes], column: str) -> dict[int, str]:
    """The class names that `datasets` stores for a column of numbers (its feature `ClassLabel`), if any."""
    try:
        names = json.loads(metadata[b"huggingface"])["info"]["features"][column]["names"]
    except (KeyError, ValueError, TypeError, RecursionError):
        return {}
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return {}
    return dict(enumerate(names))
