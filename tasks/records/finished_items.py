"""The table of finished items of all runs of an output, which later runs reuse.

The table is a folder of parts named by the hash of their content, so finalizing a run twice adds
nothing. Many small parts are compacted into few (see :mod:`tasks.records.parts`). `LATEST.json`
lists the parts for other tools.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from tasks.errors import FileMissing
from tasks.records import parquet
from tasks.records.layout import LATEST
from tasks.records.parts import MOST_BYTES, Parts, merge_parts, mergeable_groups, next_number
from tasks.storage import StoragePath

_PART_ROWS = 20_000
_MOST_PARTS = 64
_PUBLISH_ATTEMPTS = 20
_FOLDER, _BEGIN = "catalog", "items-"
_DIGITS, _CONTENT = 16, 16
"""Digits in a part's name: of the sequence number, and of the hash of its content."""


def read_finished(output: StoragePath) -> Parts:
    """Return the ok rows of all finished runs of `output`.

    Raises:
        RecordError: a part is damaged.
        StorageError: the table cannot be read.
    """
    return Parts(output / _FOLDER, _BEGIN)


def add_finished(output: StoragePath, found: Iterable[pa.Table]) -> None:
    """Add tables of ok rows, and update LATEST.json.

    Several runs may do this at the same time: each deletes only parts that it has read, and lists
    the parts again after it has written LATEST.json, so the last one to write lists all parts.

    Raises:
        RecordError: a part is damaged.
        StorageError: the table cannot be read or written.
    """
    names = parquet.part_names(output / _FOLDER)
    for part in _batches(found):
        _write(output, part, names)
    finished = read_finished(output)
    if len(finished.parts) > _MOST_PARTS:
        _compact(finished, output / _FOLDER)
    for _ in range(_PUBLISH_ATTEMPTS):
        finished = finished.refreshed()
        if _is_published(output, finished):
            return
        _publish(output, finished)


def _compact(finished: Parts, folder: StoragePath) -> None:
    """Merge small neighboring parts, without the rows that later rows replace."""
    for group in mergeable_groups(finished.parts, _PART_ROWS):
        merge_parts(folder, group, finished.rows(finished.positions_in(group)))


def _is_published(output: StoragePath, finished: Parts) -> bool:
    """Tell whether LATEST.json lists exactly the existing parts."""
    try:
        about = json.loads((output / LATEST).read_bytes())
        return bool(about["tables"] == _tables(finished))
    except FileMissing:
        return not finished.parts
    except (ValueError, KeyError, TypeError, RecursionError):  # damaged
        return False


def _publish(output: StoragePath, finished: Parts) -> None:
    about = {"tables": _tables(finished), "rows": len(finished)}
    text = f"{json.dumps(about, indent=2)}\n"
    (output / LATEST).write_bytes(text.encode())


def _tables(finished: Parts) -> list[str]:
    return [f"{_FOLDER}/{part.name}" for part in finished.parts]


def _batches(found: Iterable[pa.Table]) -> Iterator[pa.Table]:
    held: list[pa.Table] = []
    for table in found:
        held.append(table)
        if sum(map(len, held)) >= _PART_ROWS or sum(t.nbytes for t in held) >= MOST_BYTES:
            yield pa.concat_tables(held)
            held = []
    if sum(map(len, held)):
        yield pa.concat_tables(held)


def _write(output: StoragePath, part: pa.Table, names: list[str]) -> None:
    """Write a part after those in `names`, unless a part of the same content exists."""
    data = parquet.to_bytes(_as_computed(part))
    content = hashlib.sha256(data).hexdigest()[:_CONTENT]
    if not any(name.endswith(f"-{content}.parquet") for name in names):
        number = next_number(names, _DIGITS)
        name = f"{_BEGIN}{number:0{_DIGITS}d}-{content}.parquet"
        (output / _FOLDER / name).write_bytes(data)
        names.append(name)


def _as_computed(part: pa.Table) -> pa.Table:
    """Return the rows with `reused` false, as in the run that computed them."""
    place = part.schema.names.index("reused")
    return part.set_column(place, part.schema.field(place), pa.array(np.zeros(len(part), bool)))
