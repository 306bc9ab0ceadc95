"""The table of all finished items over all runs: what a later run takes over.

It lies in parts that are named by their content and only ever added, so that runs that close at
the same time lose nothing of each other; when there are many, they are written anew as few.
`LATEST.json` tells people and tools which parts there are.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress

import numpy as np
import pyarrow as pa

from schemas.result import ItemResult
from tasks import storage, tables
from tasks.errors import FileMissing
from tasks.row_index import Numbers, RowIndex
from tasks.run_files import LATEST

_PART_ROWS = 20_000
_PART_BYTES = 2**26
_MOST_PARTS = 64
_READ_ATTEMPTS = 10
_PUBLISH_ATTEMPTS = 20
_FOLDER = "catalog"


class FinishedItems(RowIndex):
    """The rows of finished items; found again where another run has compacted the parts."""

    def __init__(self, output: str) -> None:
        """Read the parts of an output.

        Raises:
            As :func:`read_finished`.
        """
        self._output = output
        for attempt in range(_READ_ATTEMPTS):
            self.names = _names(output)
            try:
                super().__init__(_parts(output, self.names))
                return
            except FileMissing:  # compacted between the list and the read
                if attempt == _READ_ATTEMPTS - 1:
                    raise

    def rows(self, positions: Numbers) -> pa.Table:
        """Return the rows at some positions (see :meth:`RowIndex.rows`)."""
        index, places = self, positions
        for _ in range(_READ_ATTEMPTS):
            try:
                return RowIndex.rows(index, places)
            except FileMissing:
                index = FinishedItems(self._output)
                places = index.positions(self._keys[positions])
                if (places < 0).any():  # rows are lost, not moved
                    raise
        return RowIndex.rows(index, places)


def read_finished(output: str) -> FinishedItems:
    """Return the ok rows of all closed runs below `output`; empty when there are none.

    Raises:
        RecordError: a part is damaged.
        StorageError: the table cannot be read.
    """
    return FinishedItems(output)


def add_finished(output: str, found: Iterable[pa.Table]) -> None:
    """Put tables of ok rows into the table, and bring LATEST.json up to date.

    Runs may close at the same time: none deletes what it has not read, and each looks once more
    after it has written LATEST.json, so the last one names the parts of all.

    Raises:
        RecordError: a part is damaged.
        StorageError: the table cannot be read or written.
    """
    for part in _chunks(found):
        _write(output, part)
    if len(_names(output)) > _MOST_PARTS:
        with suppress(FileMissing):  # another run is compacting, and deletes what it has read
            _compact(output)
    for _ in range(_PUBLISH_ATTEMPTS):
        if _is_published(output):
            return
        _publish(output)


def _compact(output: str) -> None:
    """Write the parts anew as few, and delete those that were read."""
    index = read_finished(output)
    every = index.in_order()
    steps = range(0, len(every), _PART_ROWS)
    merged = {_write(output, index.rows(every[k : k + _PART_ROWS])) for k in steps}
    for name in set(index.names) - merged:
        storage.delete(storage.join(output, _FOLDER, name))


def _is_published(output: str) -> bool:
    """Tell whether LATEST.json names just the parts that are there."""
    try:
        about = json.loads(storage.read_bytes(storage.join(output, LATEST)))
        return bool(about["tables"] == _tables(_names(output)))
    except FileMissing:
        return not _names(output)
    except (ValueError, KeyError, TypeError):  # damaged
        return False


def _publish(output: str) -> None:
    finished = read_finished(output)
    about = {"tables": _tables(finished.names), "rows": len(finished)}
    text = f"{json.dumps(about, indent=2)}\n"
    storage.write_bytes(storage.join(output, LATEST), text.encode())


def _tables(names: list[str]) -> list[str]:
    return [f"{_FOLDER}/{name}" for name in sorted(names)]


def _chunks(found: Iterable[pa.Table]) -> Iterator[pa.Table]:
    held: list[pa.Table] = []
    for table in found:
        held.append(table)
        if sum(map(len, held)) >= _PART_ROWS or sum(t.nbytes for t in held) >= _PART_BYTES:
            yield pa.concat_tables(held)
            held = []
    if sum(map(len, held)):
        yield pa.concat_tables(held)


def _write(output: str, part: pa.Table) -> str:
    data = tables.to_bytes(_own(part))
    # named first by what is in it, so that the order of names is the order of writing
    name = f"items-{_latest(part):016d}-{hashlib.sha256(data).hexdigest()[:16]}.parquet"
    storage.write_bytes(storage.join(output, _FOLDER, name), data)
    return name


def _own(part: pa.Table) -> pa.Table:
    """Return the rows as those of the runs that computed them."""
    place = part.schema.names.index("reused")
    return part.set_column(place, part.schema.field(place), pa.array(np.zeros(len(part), bool)))


def _latest(part: pa.Table) -> int:
    times = part["finished_at"].cast(pa.int64()).fill_null(0).to_numpy()
    return int(times.max(initial=0))


def _parts(output: str, names: list[str]) -> Iterator[tuple[str, pa.Table]]:
    for name in names:
        uri = storage.join(output, _FOLDER, name)
        yield uri, tables.read_rows_table(uri, ItemResult, tables.KEPT)


def _names(output: str) -> list[str]:
    names = tables.part_names(storage.join(output, _FOLDER))
    return [name for name in names if name.startswith("items-")]
