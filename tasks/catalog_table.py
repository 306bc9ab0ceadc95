"""The table of all finished items over all runs: what a later run takes over.

It lies in parts that are named by their content and only ever added, so that runs that close at
the same time lose nothing of each other; when there are many, they are written anew as few.
`LATEST.json` tells people and tools which parts there are.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from schemas.result import ItemResult
from tasks import storage, tables
from tasks.errors import FileMissing
from tasks.row_index import RowIndex
from tasks.run_files import LATEST

_PART_ROWS = 20_000
_PART_BYTES = 2**26
_MOST_PARTS = 64
_FOLDER = "catalog"


def read_finished(output: str) -> RowIndex:
    """Return the ok rows of all closed runs below `output`; empty when there are none.

    Raises:
        RecordError: a part is damaged.
        StorageError: the table cannot be read.
    """
    try:
        return RowIndex(_parts(output))
    except FileMissing:  # another run has just written the parts anew
        return RowIndex(_parts(output))


def add_finished(output: str, found: Iterable[pa.Table]) -> None:
    """Put tables of ok rows into the table.

    Raises:
        RecordError: a part is damaged.
        StorageError: the table cannot be read or written.
    """
    before = set(_names(output))
    there = before | {_write(output, part) for part in _chunks(found)}
    if len(there) > _MOST_PARTS:
        merged = _compact(output)
        for name in there - merged:
            storage.delete(storage.join(output, _FOLDER, name))
        there = merged
    if there != before:
        about = {"tables": [f"{_FOLDER}/{name}" for name in sorted(there)]}
        text = json.dumps({**about, "rows": len(read_finished(output))}, indent=2)
        storage.write_bytes(storage.join(output, LATEST), f"{text}\n".encode())


def _compact(output: str) -> set[str]:
    index = read_finished(output)
    every = index.in_order()
    steps = range(0, len(every), _PART_ROWS)
    return {_write(output, index.rows(every[k : k + _PART_ROWS])) for k in steps}


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


def _parts(output: str) -> Iterator[tuple[str, pa.Table]]:
    for name in _names(output):
        uri = storage.join(output, _FOLDER, name)
        yield uri, tables.read_rows_table(uri, ItemResult)


def _names(output: str) -> list[str]:
    names = tables.part_names(storage.join(output, _FOLDER))
    return [name for name in names if name.startswith("items-")]
