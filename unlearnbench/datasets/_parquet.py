"""Images in Parquet files as Hugging Face's `datasets` writes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from unlearnbench.datasets._decode import Picture
from unlearnbench.datasets._locate import damaged
from unlearnbench.errors import InputError
from unlearnbench.regular_files import listing, opened

_IMAGE_COLUMNS = ("image", "img")
_LABEL_COLUMNS = ("label", "labels", "fine_label")


class Rows(NamedTuple):
    """Encoded images and their labels, as they stand in the file: numbers or names."""

    pictures: list[Picture]
    labels: list[int | str]


def split_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files of the training and of the test split: train*.parquet and test*.parquet, sorted by name."""
    try:
        names = [name for name in listing(folder) if name.endswith(".parquet")]
    except FileNotFoundError:
        names = []
    train, test = ([folder / name for name in names if name.startswith(part)] for part in ("train", "test"))
    return train, test


def read_rows(files: Sequence[Path]) -> Rows:
    """The rows of some Parquet files, in order.

    The image column is `image` or `img`, binary or a struct with a binary field `bytes`; the label column is `label`,
    `labels` or `fine_label`, whole numbers or text.

    Raises:
        InputError: naming the file that is damaged or lacks a column, or the row that lacks a value.
    """
    pictures: list[Picture] = []
    labels: list[int | str] = []
    for file in files:
        _read_file(file, pictures, labels)
    return Rows(pictures, labels)


def _read_file(file: Path, pictures: list[Picture], labels: list[int | str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with opened(file) as stream:
            schema = pq.read_schema(stream)
            columns = [_column(file, schema.names, _IMAGE_COLUMNS), _column(file, schema.names, _LABEL_COLUMNS)]
            table = pq.read_table(stream, columns=columns, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise damaged(file, f"not a readable Parquet file ({error})") from error
    values = table.column(columns[1]).to_pylist()
    if not all(isinstance(value, int | str) and not isinstance(value, bool) for value in values):
        raise InputError(str(file.absolute()), f"column {columns[1]} must hold whole numbers or text in every row")
    place = file.absolute()
    for row, image in enumerate(table.column(columns[0]).to_pylist()):
        content = image.get("bytes") if isinstance(image, dict) else image
        if not isinstance(content, bytes):
            raise InputError(f"{place}: row {row}", f"column {columns[0]} holds no image bytes")
        pictures.append(Picture(f"{place}: row {row}", content))
    labels.extend(values)


def _column(file: Path, names: Sequence[str], known: Sequence[str]) -> str:
    for name in known:
        if name in names:
            return name
    raise InputError(str(file.absolute()), f"has no column {' or '.join(known)}; it has {', '.join(names)}")
