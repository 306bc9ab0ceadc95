"""The table of all finished items over all runs: what a later run takes over.

It lies in parts that are named by their content, so that closing a run twice adds nothing; when
there are many, they are put together as few (see :mod:`tasks.parts`).
`LATEST.json` tells people and tools which parts there are.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from tasks import storage, tables
from tasks.errors import FileMissing
from tasks.parts import MOST_BYTES, Parts, following, groups, replace
from tasks.run_files import LATEST

_PART_ROWS = 20_000
_MOST_PARTS = 64
_PUBLISH_ATTEMPTS = 20
_FOLDER, _BEGIN = "catalog", "items-"
_DIGITS, _CONTENT = 16, 16
"""Lengths in a part's name: of the number that orders it, and of the hash of its content."""


def read_finished(output: str) -> Parts:
    """Return the ok rows of all closed runs below `output`; empty when there are none.

    Raises:
        RecordError: a part is damaged.
        StorageError: the table cannot be read.
    """
    return Parts(storage.join(output, _FOLDER), _BEGIN)


def add_finished(output: str, found: Iterable[pa.Table]) -> None:
    """Put tables of ok rows into the table, and bring LATEST.json up to date.

    Runs may close at the same time: none deletes what it has not read, and each looks once more
    after it has written LATEST.json, so the last one names the parts of all.

    Raises:
        RecordError: a part is damaged.
        StorageError: the table cannot be read or written.
    """
    names = tables.part_names(storage.join(output, _FOLDER))
    for part in _chunks(found):
        _write(output, part, names)
    finished = read_finished(output)
    if len(finished.parts) > _MOST_PARTS:
        _put_together(finished, storage.join(output, _FOLDER))
    for _ in range(_PUBLISH_ATTEMPTS):
        finished = finished.renewed()
        if _is_published(output, finished):
            return
        _publish(output, finished)


def _put_together(finished: Parts, folder: str) -> None:
    """Write small parts side by side anew as one, without rows that later ones replace."""
    for group in groups(finished.parts, _PART_ROWS):
        replace(folder, group, finished.rows(finished.of(group)))


def _is_published(output: str, finished: Parts) -> bool:
    """Tell whether LATEST.json names just the parts that are there."""
    try:
        about = json.loads(storage.read_bytes(storage.join(output, LATEST)))
        return bool(about["tables"] == _tables(finished))
    except FileMissing:
        return not finished.parts
    except (ValueError, KeyError, TypeError):  # damaged
        return False


def _publish(output: str, finished: Parts) -> None:
    about = {"tables": _tables(finished), "rows": len(finished)}
    text = f"{json.dumps(about, indent=2)}\n"
    storage.write_bytes(storage.join(output, LATEST), text.encode())


def _tables(finished: Parts) -> list[str]:
    return [f"{_FOLDER}/{part.name}" for part in finished.parts]


def _chunks(found: Iterable[pa.Table]) -> Iterator[pa.Table]:
    held: list[pa.Table] = []
    for table in found:
        held.append(table)
        if sum(map(len, held)) >= _PART_ROWS or sum(t.nbytes for t in held) >= MOST_BYTES:
            yield pa.concat_tables(held)
            held = []
    if sum(map(len, held)):
        yield pa.concat_tables(held)


def _write(output: str, part: pa.Table, names: list[str]) -> None:
    """Write a part behind those of these names, unless it is there."""
    data = tables.to_bytes(_own(part))
    content = hashlib.sha256(data).hexdigest()[:_CONTENT]
    if not any(name.endswith(f"-{content}.parquet") for name in names):
        number = following(names, _DIGITS)
        name = f"{_BEGIN}{number:0{_DIGITS}d}-{content}.parquet"
        storage.write_bytes(storage.join(output, _FOLDER, name), data)
        names.append(name)


def _own(part: pa.Table) -> pa.Table:
    """Return the rows as those of the runs that computed them."""
    place = part.schema.names.index("reused")
    return part.set_column(place, part.schema.field(place), pa.array(np.zeros(len(part), bool)))
