"""Tables in parts that grow: found by item and, when there are many, put together as few.

Several processes may read, add and put together at the same time, and any of them may die or stand
still at any moment. Three rules keep every row in some part: a part is never changed, what is put
together gets a name that nobody had before, and a part is deleted only by who has read it and has
written its rows anew. So whoever misses a part that was there looks again, and finds its rows.
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
from tasks import storage, tables
from tasks.errors import FileMissing
from tasks.row_index import Numbers, RowIndex, numbers_of

MOST_BYTES = 2**25
"""About the most bytes in memory of a part that is put together."""
_THREADS = 8
_ATTEMPTS = 50

Check = Callable[[str, pa.Table], None]


@dataclass(frozen=True)
class Part:
    """How much a part holds.

    Attributes:
        name: Its file's name.
        rows: How many rows.
        size: Bytes that they take in memory.
    """

    name: str
    rows: int
    size: int


@dataclass(frozen=True, eq=False)
class _Read:
    part: Part
    numbers: Numbers


class Parts(RowIndex):
    """The rows in a folder's parts, also while others put these together.

    Attributes:
        parts: Those that are there, in order.
    """

    def __init__(
        self, folder: str, begin: str = "", check: Check = lambda _uri, _table: None
    ) -> None:
        """Read the parts whose names begin so, several at a time.

        Args:
            folder: Absolute URI of their folder; none is one without parts.
            begin: What their names begin with.
            check: Raises an error for a part that does not belong here.

        Raises:
            RecordError: a part is damaged.
            StorageError: the parts cannot be read.
        """
        self._folder, self._begin, self._check = folder, begin, check
        self._read: dict[str, _Read] = {}
        self._newer: Parts | None = None
        self._look()

    def renewed(self) -> "Parts":
        """Return the same as it is now; parts that were read before are not read again.

        Raises:
            As for a new one.
        """
        new = copy(self)
        new._newer = None
        new._look()
        return new

    def _look(self) -> None:
        """List the parts, and read the new ones, until the list stays the same.

        A list is made piece by piece: what is put together meanwhile may be in none of them. Each
        time reads only what has come since, which is less and less.
        """
        names = self._names()
        for _ in range(_ATTEMPTS):
            new = [name for name in names if name not in self._read]
            with ThreadPoolExecutor(_THREADS) as pool:
                found = dict(zip(new, pool.map(self._of, new), strict=True))
            read = {name: self._read.get(name) or found[name] for name in names}
            self._read = {name: one for name, one in read.items() if one is not None}
            before, names = names, self._names()
            if names == before == list(self._read):
                break
        if len(self._read) < len(before):
            raise FileMissing(f"{self._folder}: parts are listed that are not there")
        self.parts = [one.part for one in self._read.values()]
        self._fill((self._uri(one.part.name), one.numbers) for one in self._read.values())

    def _names(self) -> list[str]:
        return [name for name in tables.part_names(self._folder) if name.startswith(self._begin)]

    def _uri(self, name: str) -> str:
        return storage.join(self._folder, name)

    def _of(self, name: str) -> _Read | None:
        uri = self._uri(name)
        try:
            table = tables.read_rows_table(uri, ItemResult, tables.KEPT)
        except FileMissing:
            return None
        self._check(uri, table)
        return _Read(Part(name, len(table), table.nbytes), numbers_of(uri, table))

    def of(self, parts: list[Part]) -> Numbers:
        """Return the positions of the rows in some of the parts, in order."""
        every, names = self.in_order(), {part.name for part in parts}
        numbers = [number for number, part in enumerate(self.parts) if part.name in names]
        return every[np.isin(self._part[every], numbers)]

    def _fetched(self, positions: Numbers) -> Iterator[tuple[Numbers, pa.Table]]:
        """Fetch rows wherever they are now; what has been fetched is not asked for again."""
        index: Parts = self if self._newer is None else self._newer
        keys, left = self._keys[positions], np.arange(len(positions))
        for _ in range(_ATTEMPTS):
            places, gone = index.positions(keys[left]), list[Numbers]()
            if (places < 0).any():
                break
            for inside in index._by_part(places):
                try:
                    rows = index._taken(places[inside])
                except FileMissing:
                    gone.append(left[inside])
                else:
                    yield left[inside], rows
            if not gone:
                return
            left = np.concatenate(gone)
            index = self._newer = index.renewed()
        raise FileMissing(f"{self._folder}: {len(left)} rows are gone; run the same command again")


def following(names: Iterable[str], digits: int) -> int:
    """Return a number for the name of a part that is to come after all these.

    Not the time: a clock may have been ahead once, and what came later would never count. Names
    that older versions made hold the time, in as many digits.
    """
    found = (re.match(rf"[a-z]+-(\d{{{digits}}})", name) for name in names)
    return 1 + max((int(number[1]) for number in found if number), default=0)


def groups(parts: Iterable[Part], most_rows: int) -> Iterator[list[Part]]:
    """Yield parts side by side that are small enough to become one of at most so many rows."""
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


def replace(folder: str, parts: list[Part], rows: pa.Table) -> Part:
    """Write the rows of parts as one, which takes the place of the last; then delete them.

    Raises:
        StorageError: it cannot be written, or not all of them deleted.
    """
    # New each time: were names made of contents, two who put together what the other has written
    # could each delete what the other relies on.
    name = f"{parts[-1].name.partition('.')[0]}.{secrets.token_hex(6)}.parquet"
    storage.write_bytes(storage.join(folder, name), tables.to_bytes(rows))
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(storage.delete, (storage.join(folder, part.name) for part in parts)))
    return Part(name, len(rows), rows.nbytes)


def read_whole(folder: str, parts: list[Part]) -> pa.Table:
    """Return all rows of some parts, in order.

    Raises:
        FileMissing: another process has put one of them together with others.
        RecordError: one is damaged.
        StorageError: one cannot be read.
    """
    uris = (storage.join(folder, part.name) for part in parts)
    with ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(lambda uri: tables.read_rows_table(uri, ItemResult), uris)
        return pa.concat_tables(found).combine_chunks()
