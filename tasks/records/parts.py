"""Append-only tables in parts: indexed by item, and compacted when there are many parts.

Several processes may read, append and compact at the same time, and any of them may crash or hang.
No row is lost, because a part is never changed, a merged part has a new name, and a process deletes
only parts whose rows it has read and written to a merged part. A reader that misses a part lists
the folder again and finds its rows in another part.
"""

import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from schemas.result import ItemResult
from schemas.text import counted
from tasks.errors import FileMissing
from tasks.records import parquet
from tasks.records.index import Numbers, RowIndex, index_columns
from tasks.storage import StoragePath

MOST_BYTES = 2**25
"""Approximate limit of a merged part's size in memory, in bytes."""
_THREADS = 8
_ATTEMPTS = 50

Check = Callable[[StoragePath, pa.Table], None]


@dataclass(frozen=True)
class Part:
    """Size of a part.

    Attributes:
        name: File name.
        rows: Number of rows.
        size: Size of the rows in memory, in bytes.
    """

    name: str
    rows: int
    size: int


@dataclass(frozen=True, eq=False)
class _LoadedPart:
    part: Part
    numbers: Numbers


class Parts(RowIndex):
    """Index of the rows in a folder's parts; other processes may compact them meanwhile.

    Attributes:
        parts: The parts, sorted by name.
    """

    def __init__(
        self, folder: StoragePath, begin: str = "", check: Check = lambda _file, _table: None
    ) -> None:
        """Read the parts in a folder, several at a time.

        Args:
            folder: The folder; it may not exist yet.
            begin: Read only parts whose names begin with this.
            check: Raises an error for a part that does not belong to the table.

        Raises:
            RecordError: a part is damaged.
            StorageError: the parts cannot be read.
        """
        self._folder, self._begin, self._check = folder, begin, check
        self._loaded: dict[str, _LoadedPart] = {}
        self._newer: Parts | None = None
        self._read_parts()

    def refreshed(self) -> "Parts":
        """Return an up-to-date index of the folder; reads only the new parts.

        Raises:
            RecordError: a part is damaged.
            StorageError: the parts cannot be read.
        """
        new = copy(self)
        new._newer = None
        new._read_parts()
        return new

    def _read_parts(self) -> None:
        """List the parts and read the new ones, until the list does not change.

        A listing is not atomic: it may miss rows that are moved to a merged part meanwhile. Each
        round reads only the parts that are new since the round before.
        """
        names = self._names()
        for _ in range(_ATTEMPTS):
            new = [name for name in names if name not in self._loaded]
            with ThreadPoolExecutor(_THREADS) as pool:
                found = dict(zip(new, pool.map(self._read_part, new), strict=True))
            read = {name: self._loaded.get(name) or found[name] for name in names}
            self._loaded = {name: one for name, one in read.items() if one is not None}
            before, names = names, self._names()
            if names == before == list(self._loaded):
                break
        if len(self._loaded) < len(before):
            raise FileMissing(f"{self._folder}: some listed parts do not exist; check the store")
        self.parts = [one.part for one in self._loaded.values()]
        self._build((self._folder / one.part.name, one.numbers) for one in self._loaded.values())

    def _names(self) -> list[str]:
        return [name for name in parquet.part_names(self._folder) if name.startswith(self._begin)]

    def _read_part(self, name: str) -> _LoadedPart | None:
        file = self._folder / name
        try:
            table = parquet.read_rows_table(file, ItemResult, parquet.REMOVE_REMEDY)
        except FileMissing:
            return None
        self._check(file, table)
        return _LoadedPart(Part(name, len(table), table.nbytes), index_columns(file, table))

    def positions_in(self, parts: list[Part]) -> Numbers:
        """Return the positions of the rows in some of the parts, in the order of writing."""
        every, names = self.in_order(), {part.name for part in parts}
        numbers = [number for number, part in enumerate(self.parts) if part.name in names]
        return every[np.isin(self._part[every], numbers)]

    def _fetch(self, positions: Numbers) -> Iterator[tuple[Numbers, pa.Table]]:
        """Fetch rows from the parts that contain them now; parts may be compacted meanwhile."""
        index: Parts = self if self._newer is None else self._newer
        keys, left = self._keys[positions], np.arange(len(positions))
        for _ in range(_ATTEMPTS):
            places, gone = index.positions(keys[left]), list[Numbers]()
            if (places < 0).any():
                break
            for inside in index._by_part(places):
                try:
                    rows = index._take_rows(places[inside])
                except FileMissing:
                    gone.append(left[inside])
                else:
                    yield left[inside], rows
            if not gone:
                return
            left = np.concatenate(gone)
            index = self._newer = index.refreshed()
        missing = counted(len(left), "row")
        raise FileMissing(f"{self._folder}: cannot find {missing}; run the same command again")


def next_number(names: Iterable[str], digits: int) -> int:
    """Return the sequence number for a part after all of `names`.

    Not a time stamp: after a wrong clock, later parts would sort before earlier ones. Names of
    older versions contain a time stamp of as many digits, so numbers continue from there.
    """
    found = (re.match(rf"[a-z]+-(\d{{{digits}}})", name) for name in names)
    return 1 + max((int(number[1]) for number in found if number), default=0)


def mergeable_groups(parts: Iterable[Part], most_rows: int) -> Iterator[list[Part]]:
    """Yield groups of neighboring parts that have at most `most_rows` rows together."""
    held, rows, size = list[Part](), 0, 0
    for part in parts:
        rows, size = rows + part.rows, size + part.size
        if rows > most_rows or size > MOST_BYTES:
            if len(held) > 1:
                yield held
            held, rows, size = [], part.rows, part.size
        held.append(part)
    if len(held) > 1:
        yield held


def merge_parts(folder: StoragePath, parts: list[Part], rows: pa.Table) -> Part:
    """Write `rows`, those of `parts`, as one part that sorts like the last; then delete `parts`.

    Raises:
        StorageError: the part cannot be written, or the others cannot be deleted.
    """
    # A random name: with names made of content, two processes that merge the same parts could each
    # delete the merged part of the other.
    name = f"{parts[-1].name.partition('.')[0]}.{secrets.token_hex(6)}.parquet"
    (folder / name).write_bytes(parquet.to_bytes(rows))
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(StoragePath.delete, (folder / part.name for part in parts)))
    return Part(name, len(rows), rows.nbytes)


def read_all(folder: StoragePath, parts: list[Part]) -> pa.Table:
    """Return all rows of some parts, in order.

    Raises:
        FileMissing: another process has merged one of them.
        RecordError: a part is damaged.
        StorageError: a part cannot be read.
    """
    files = (folder / part.name for part in parts)
    with ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(lambda file: parquet.read_rows_table(file, ItemResult), files)
        return pa.concat_tables(found).combine_chunks()
