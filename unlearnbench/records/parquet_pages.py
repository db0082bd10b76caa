"""The sizes and numbers of values that the pages of a Parquet column state in their headers.

pyarrow's metadata can't bound them, as it repeats what the footer claims: a list of 400 scores according to the footer
may be a page of 40 bytes with 10^8 scores in run lengths, which take gigabytes to read (tests/parquet_bombs.py).

Nothing is decompressed here. A page can't become larger than its header says, because the decompressor gets exactly
that much room. The headers are in Thrift's compact protocol (parquet.thrift, PageHeader: 1 type, 2 uncompressed size, 3
compressed size, then structs: 5 of a data page, 8 of one in version 2, 7 of a dictionary, each with 1 number of values
and an encoding, which is 2, of a data page in version 2: 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import pyarrow.parquet as pq

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_ENCODINGS = (
    0,
    2,
    3,
    8,
)  # plain, dictionary, run lengths, dictionary: other encodings allocate as much as a page claims
_DEEPEST = 8  # structs within structs; Parquet's own headers have three


class Pages(NamedTuple):
    """What the page headers of a column state in total.

    Attributes:
        size: decompressed bytes.
        values: values in the data pages, including nulls; every element of a list counts.
    """

    size: int
    values: int


def pages(content: bytes, column: pq.ColumnChunkMetaData) -> Pages:
    """Read the headers of all pages of a column.

    Raises:
        ValueError: the column lies outside the file, or a header is malformed.
    """
    starts = [column.data_page_offset, *([column.dictionary_page_offset] if column.has_dictionary_page else [])]
    place, end = min(starts), min(starts) + column.total_compressed_size
    total, values, entries = 0, 0, 0
    if not 0 <= place <= end <= len(content):
        raise ValueError("a column lies outside the file")
    while place < end:
        reader = _Reader(content, place, end)
        size, compressed, held, listed = reader.page_header()
        total, values, entries = total + size, values + held, entries + listed
        place = reader.place + compressed
    if entries > values:  # a reader allocates room for each entry
        raise ValueError("a dictionary with more entries than there are values")
    return Pages(total, values)


@dataclass
class _Reader:
    content: bytes
    place: int
    end: int

    def page_header(self) -> tuple[int, int, int, int]:
        """The uncompressed and compressed size of the next page, its number of data values, and its number of
        dictionary entries."""
        found = self._struct(1)
        sizes = found.get((2,), -1), found.get((3,), -1)
        if min(sizes) < 0:
            raise ValueError("a page without a size")
        values = [found.get(place, 0) for place in ((5, 1), (8, 1), (7, 1))]
        if min(values) < 0:
            raise ValueError("a page with a negative number of values")
        if any(found.get(place, 0) not in _ENCODINGS for place in ((5, 2), (7, 2), (8, 4))):
            raise ValueError("a page in an encoding that records never have")
        return *sizes, values[0] + values[1], values[2]

    def _struct(self, depth: int) -> dict[tuple[int, ...], int]:
        """The integers in a struct and its nested structs, by the path of fields to each. Everything else is
        skipped."""
        if depth > _DEEPEST:
            raise ValueError("a page header too deep")
        found: dict[tuple[int, ...], int] = {}
        number = 0
        while (head := self._byte()) != 0:
            kind, step = head & 15, head >> 4
            number = number + step if step else self._zigzag()
            if kind in (_I16, _I32, _I64):
                found[number,] = self._zigzag()
            elif kind == _STRUCT:
                found |= {(number, *place): value for place, value in self._struct(depth + 1).items()}
            elif kind not in (_TRUE, _FALSE):  # whose value is their kind
                self._skip(kind)
        return found

    def _skip(self, kind: int) -> None:
        if kind == _BINARY:
            self._forward(self._varint())
        elif kind == _BYTE:
            self._forward(1)
        elif kind == _DOUBLE:
            self._forward(8)
        else:
            raise ValueError("a page header with what Parquet's have not")

    def _forward(self, count: int) -> None:
        self.place += count
        if self.place > self.end:
            raise ValueError("a page header that does not end")

    def _byte(self) -> int:
        self._forward(1)
        return self.content[self.place - 1]

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("a page header with a number too long")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
