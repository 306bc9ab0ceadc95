"""An index of the rows in Parquet parts by item; the rows stay in their files."""

from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.arrow import arrow_schema
from schemas.result import ItemResult
from tasks.errors import RecordError
from tasks.records import parquet
from tasks.records.item_key import ItemKey
from tasks.storage import StoragePath

STATUSES = ("none", "ok", "rejected", "failed")
"""Meaning of the status numbers in an index; 0 is an item without a row."""
OK = STATUSES.index("ok")
REJECTED = STATUSES.index("rejected")
FAILED = STATUSES.index("failed")

KEYS = list(ItemKey._fields)
_SCHEMA = arrow_schema(ItemResult)
_HELD_PARTS = 4

Numbers = NDArray[np.int64]


class RowIndex:
    """Finds the row of each item: an ok row if there is one, else the latest.

    An item takes about 40 bytes. Items are identified by 64-bit hashes of their keys, so compare
    the keys of fetched rows.
    """

    def __init__(self, parts: Iterable[tuple[StoragePath, pa.Table]] = ()) -> None:
        """Index tables of rows, oldest first, each with its file.

        Raises:
            RecordError: a row has an unknown status.
        """
        self._build([(file, index_columns(file, table)) for file, table in parts])

    def _build(self, parts: Iterable[tuple[StoragePath, Numbers]]) -> None:
        """Build the index from the :func:`index_columns` (3, N) of each part, oldest first."""
        self._files: list[StoragePath] = []
        found = [np.zeros((5, 0), np.int64)]
        for number, (file, own) in enumerate(parts):
            self._files.append(file)
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
        """Return the positions (N,) of hashed keys (N,) in this index; -1 without a row."""
        if not len(self):
            return np.full(len(wanted), -1)
        places = np.searchsorted(self._keys, wanted).clip(max=len(self) - 1)
        return np.where(self._keys[places] == wanted, places, -1)

    def statuses(self, wanted: Numbers) -> Numbers:
        """Return the status (N,) of hashed keys (N,), an index into STATUSES; 0 without a row."""
        places = self.positions(wanted)
        return np.where(places >= 0, self.status[places], 0) if len(self) else places * 0

    def finished_times(self, wanted: Numbers) -> Numbers:
        """Return the end times (N,) of hashed keys (N,), in µs UTC by the node's clock.

        -1 for a row without a time, -2 without a row.
        """
        places = self.positions(wanted)
        return np.where(places >= 0, self.finished[places], -2) if len(self) else places - 1

    def in_order(self) -> Numbers:
        """Return all positions in the order of writing."""
        return np.lexsort((self._row, self._part))

    def rows(self, positions: Numbers) -> pa.Table:
        """Return the rows at `positions`, in this order, with the columns of ItemResult.

        Raises:
            RecordError: a part is damaged.
            StorageError: a part is missing or cannot be read.
        """
        found = list(self._fetch(positions))
        if not found:
            return _SCHEMA.empty_table()
        back = np.argsort(np.concatenate([inside for inside, _ in found]))
        return pa.concat_tables([rows for _, rows in found]).take(pa.array(back))

    def _fetch(self, positions: Numbers) -> Iterator[tuple[Numbers, pa.Table]]:
        """Yield for each part the indices into `positions` of its rows, and the rows."""
        for inside in self._by_part(positions):
            yield inside, self._take_rows(positions[inside])

    def _by_part(self, positions: Numbers) -> list[Numbers]:
        """Group indices into `positions` by part."""
        parts = self._part[positions]
        order = np.argsort(parts, kind="stable")
        cuts = np.flatnonzero(np.diff(parts[order])) + 1
        return np.split(order, cuts) if len(order) else []

    def _take_rows(self, positions: Numbers) -> pa.Table:
        """Return the rows at `positions`, all of one part."""
        table = _read_part(self._files[self._part[positions[0]]])
        return table.take(pa.array(self._row[positions]))


def index_columns(file: StoragePath, table: pa.Table) -> Numbers:
    """Return the index entries of N rows (3, N): hashed key, status, end time.

    Raises:
        RecordError: a row has an unknown status.
    """
    statuses = table["status"].to_pylist()
    if unknown := set(statuses) - set(STATUSES[1:]):
        raise RecordError(f"{file} has the unknown status {min(map(str, unknown))}; move it away")
    return np.stack(
        [
            key_hashes(table),
            np.array([STATUSES.index(status) for status in statuses], np.int64),
            _integers(table["finished_at"].cast(pa.int64())),
        ]
    )


def key_hashes(table: pa.Table) -> Numbers:
    """Return the hashed keys (N,) of a table of items or results.

    The hashes are valid only within this process.
    """
    columns = (table[name].to_pylist() for name in KEYS)
    return np.fromiter((hash(key) for key in zip(*columns, strict=True)), np.int64, len(table))


def same_keys(one: pa.Table, other: pa.Table) -> bool:
    """Tell whether two tables have the same items in the same order."""
    pairs = ((one[name].combine_chunks(), other[name].combine_chunks()) for name in KEYS)
    return all(left.equals(right) for left, right in pairs)


def _integers(column: pa.ChunkedArray) -> Numbers:
    values: Numbers = column.fill_null(-1).to_numpy()
    return values


@lru_cache(maxsize=_HELD_PARTS)
def _read_part(file: StoragePath) -> pa.Table:
    return parquet.read_rows_table(file, ItemResult, parquet.REMOVE_REMEDY)
