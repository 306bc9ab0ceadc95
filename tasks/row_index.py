"""Rows of Parquet parts found by item, while the rows themselves stay in their files."""

from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.arrow import arrow_schema
from schemas.result import ItemResult
from tasks import tables
from tasks.errors import RecordError
from tasks.keys import ItemKey

STATUSES = ("none", "ok", "rejected", "failed")
"""What the numbers in an index stand for; 0 is for items without a row."""
OK = STATUSES.index("ok")
REJECTED = STATUSES.index("rejected")
FAILED = STATUSES.index("failed")

KEYS = list(ItemKey._fields)
_SCHEMA = arrow_schema(ItemResult)
_HELD_PARTS = 4

Numbers = NDArray[np.int64]


class RowIndex:
    """Which row counts for each item: an ok one if there is any, else the latest.

    An item takes about 40 bytes here, whatever its row holds. Items are told apart by 64-bit
    hashes, so whoever fetches rows must compare their keys.
    """

    def __init__(self, parts: Iterable[tuple[str, pa.Table]] = ()) -> None:
        """Read through tables of rows, each with the URI to fetch them from; older ones first.

        Raises:
            RecordError: a row has a status that there is not.
        """
        self._fill([(uri, numbers_of(uri, table)) for uri, table in parts])

    def _fill(self, parts: Iterable[tuple[str, Numbers]]) -> None:
        """Take the numbers (3, N) of the rows of each part."""
        self._uris: list[str] = []
        found = [np.zeros((5, 0), np.int64)]
        for number, (uri, own) in enumerate(parts):
            self._uris.append(uri)
            count = own.shape[1]
            found.append(np.vstack([own, np.full(count, number), np.arange(count)]))
        every = np.concatenate(found, axis=1)
        order = np.lexsort((np.arange(every.shape[1]), every[1] == OK, every[0]))
        every = every[:, order]
        last = np.ones(every.shape[1], bool)
        last[:-1] = every[0, 1:] != every[0, :-1]
        self._keys, self.status, self.finished, self._part, self._row = every[:, last]

    def __len__(self) -> int:
        return len(self._keys)

    def positions(self, wanted: Numbers) -> Numbers:
        """Return where the rows of hashed keys stand in this index, -1 for those without one."""
        if not len(self):
            return np.full(len(wanted), -1)
        places = np.searchsorted(self._keys, wanted).clip(max=len(self) - 1)
        return np.where(self._keys[places] == wanted, places, -1)

    def found(self, wanted: Numbers) -> Numbers:
        """Return the status, a number in STATUSES, of each hashed key's row; 0 for no row."""
        places = self.positions(wanted)
        return np.where(places >= 0, self.status[places], 0) if len(self) else places * 0

    def times(self, wanted: Numbers) -> Numbers:
        """Return when each hashed key's row ended by its node's clock, in us UTC; -2 for no row."""
        places = self.positions(wanted)
        return np.where(places >= 0, self.finished[places], -2) if len(self) else places - 1

    def in_order(self) -> Numbers:
        """Return all positions in the order in which the rows were written."""
        return np.lexsort((self._row, self._part))

    def rows(self, positions: Numbers) -> pa.Table:
        """Return the rows at some positions, in their order, with the columns of ItemResult.

        Raises:
            RecordError: a part is damaged now.
            StorageError: a part is gone, or cannot be read.
        """
        found = list(self._fetched(positions))
        if not found:
            return _SCHEMA.empty_table()
        back = np.argsort(np.concatenate([inside for inside, _ in found]))
        return pa.concat_tables([rows for _, rows in found]).take(pa.array(back))

    def _fetched(self, positions: Numbers) -> Iterator[tuple[Numbers, pa.Table]]:
        """Yield, part by part, which of some positions it holds, and the rows there."""
        for inside in self._by_part(positions):
            yield inside, self._taken(positions[inside])

    def _by_part(self, positions: Numbers) -> list[Numbers]:
        """Return which of some positions are in the same part, for each part."""
        parts = self._part[positions]
        order = np.argsort(parts, kind="stable")
        cuts = np.flatnonzero(np.diff(parts[order])) + 1
        return np.split(order, cuts) if len(order) else []

    def _taken(self, positions: Numbers) -> pa.Table:
        """Return the rows at some positions of one part."""
        table = _part(self._uris[self._part[positions[0]]])
        return table.take(pa.array(self._row[positions]))


def numbers_of(uri: str, table: pa.Table) -> Numbers:
    """Return what an index holds of rows (3, N): hashed key, status, time of end.

    Raises:
        RecordError: a row has a status that there is not.
    """
    statuses = table["status"].to_pylist()
    if unknown := set(statuses) - set(STATUSES[1:]):
        raise RecordError(f"{uri} holds the status {min(map(str, unknown))}; move it away")
    return np.stack(
        [
            hashes(table),
            np.array([STATUSES.index(status) for status in statuses], np.int64),
            _integers(table["finished_at"].cast(pa.int64())),
        ]
    )


def hashes(table: pa.Table) -> Numbers:
    """Return the hashed key (N,) of each row of a table of items or of rows.

    They are the same within a process only.
    """
    columns = (table[name].to_pylist() for name in KEYS)
    return np.fromiter((hash(key) for key in zip(*columns, strict=True)), np.int64, len(table))


def same_keys(one: pa.Table, other: pa.Table) -> bool:
    """Tell whether two tables are of the same items in the same order."""
    pairs = ((one[name].combine_chunks(), other[name].combine_chunks()) for name in KEYS)
    return all(left.equals(right) for left, right in pairs)


def _integers(column: pa.ChunkedArray) -> Numbers:
    values: Numbers = column.fill_null(-1).to_numpy()
    return values


@lru_cache(maxsize=_HELD_PARTS)
def _part(uri: str) -> pa.Table:
    return tables.read_rows_table(uri, ItemResult, tables.KEPT)
