"""Rows of a manifest before they are checked, and errors about several rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from tasks.errors import ManifestError

MAX_NAMED = 20
"""Largest number of rows, galleries or references that a message names."""


@dataclass(frozen=True)
class Rows:
    """A batch of rows of a manifest.

    Attributes:
        uri: URI of their file.
        numbers: Number of each row in that file, from 1.
        batch: The columns.
    """

    uri: str
    numbers: Sequence[int]
    batch: pa.RecordBatch


def table_rows(uri: str, table: pa.Table, numbers: Sequence[int] | None = None) -> Iterator[Rows]:
    """Yield the rows of a table in batches, numbered from 1 unless `numbers` are given."""
    counted, begin = numbers or range(1, len(table) + 1), 0
    for batch in table.to_batches():
        yield Rows(uri, counted[begin : begin + len(batch)], batch)
        begin += len(batch)


def combine_problems(problems: Sequence[ManifestError]) -> ManifestError:
    """Return one error for several rows: the first, with the numbers of the other rows."""
    first = problems[0]
    rows = [str(row) for row in dict.fromkeys(other.row for other in problems) if row != first.row]
    if not rows:
        return first
    more = len(rows) - MAX_NAMED
    named = ", ".join(rows[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
    rule = f"{first.rule} (also: row{'s' if len(rows) > 1 else ''} {named})"
    return ManifestError(first.uri, first.column, first.row, rule)
