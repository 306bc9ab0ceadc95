"""Rows of a manifest as they leave its file: a batch of columns that knows where it comes from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True)
class Rows:
    """Some rows of a manifest.

    Attributes:
        uri: The file that holds them.
        numbers: The number of each in that file, from 1.
        batch: Their columns.
    """

    uri: str
    numbers: Sequence[int]
    batch: pa.RecordBatch


def rows_of(uri: str, table: pa.Table, numbers: Sequence[int] | None = None) -> Iterator[Rows]:
    """Yield the rows of a table, numbered from 1 unless their numbers are given."""
    counted, begin = numbers or range(1, len(table) + 1), 0
    for batch in table.to_batches():
        yield Rows(uri, counted[begin : begin + len(batch)], batch)
        begin += len(batch)
