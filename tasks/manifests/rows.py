"""Rows of a manifest as they leave its file, and how several of them are named at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from tasks.errors import ManifestError

MAX_NAMED = 20
"""Most rows, galleries or references that a message names."""


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


def table_rows(uri: str, table: pa.Table, numbers: Sequence[int] | None = None) -> Iterator[Rows]:
    """Yield the rows of a table, numbered from 1 unless their numbers are given."""
    counted, begin = numbers or range(1, len(table) + 1), 0
    for batch in table.to_batches():
        yield Rows(uri, counted[begin : begin + len(batch)], batch)
        begin += len(batch)


def combine_problems(problems: Sequence[ManifestError]) -> ManifestError:
    """Return the first of some problems, with the numbers of the other rows at fault."""
    first = problems[0]
    rows = [str(row) for row in dict.fromkeys(other.row for other in problems) if row != first.row]
    if not rows:
        return first
    more = len(rows) - MAX_NAMED
    named = ", ".join(rows[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
    rule = f"{first.rule} (also at fault: row{'s' if len(rows) > 1 else ''} {named})"
    return ManifestError(first.uri, first.column, first.row, rule)
