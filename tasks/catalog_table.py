"""The table of all finished items over all runs: what a later run takes over."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from schemas.arrow import to_table
from schemas.result import ItemResult
from tasks import storage, tables
from tasks.errors import FileMissing, RecordError
from tasks.keys import ItemKey, key_of
from tasks.run_files import LATEST


def read_finished(output: str) -> dict[ItemKey, ItemResult]:
    """Return the ok rows of all closed runs below `output`; empty when there are none.

    Raises:
        RecordError: the table or its pointer is damaged.
        StorageError: it cannot be read.
    """
    pointer = _pointer(output)
    if not pointer:
        return {}
    try:
        rows = tables.read_rows(storage.join(output, pointer["table"]), ItemResult)
    except FileMissing as error:
        rule = f"remove {storage.join(output, LATEST)} as well, and the next run starts a new table"
        raise RecordError(f"{error}; {rule}") from error
    return {key_of(row): row for row in rows}


def add_finished(output: str, rows: Iterable[ItemResult]) -> None:
    """Put ok rows into the table: a new file, then the pointer; older files but one go.

    Raises:
        RecordError: the present table is damaged.
        StorageError: it cannot be read or written.
    """
    pointer = _pointer(output)
    held = read_finished(output)
    held.update((key_of(row), row.model_copy(update={"reused": False})) for row in rows)
    ordered = [held[key] for key in sorted(held, key=lambda k: (k[1:], k[0]))]
    data = tables.to_bytes(to_table(ordered, ItemResult))
    digest = hashlib.sha256(data).hexdigest()
    table = f"catalog/items-{digest[:16]}.parquet"
    if pointer.get("table") == table:
        return
    storage.write_bytes(storage.join(output, table), data)
    text = json.dumps({"table": table, "rows": len(ordered), "sha256": digest}, indent=2)
    storage.write_bytes(storage.join(output, LATEST), f"{text}\n".encode())
    kept = {table, pointer.get("table")}  # a reader may still hold the last one
    for name in storage.list_names(storage.join(output, "catalog")):
        old = f"catalog/{name}"
        if name.startswith("items-") and old not in kept:
            storage.delete(storage.join(output, old))


def _pointer(output: str) -> dict[str, Any]:
    uri = storage.join(output, LATEST)
    try:
        pointer = json.loads(storage.read_bytes(uri))
        if isinstance(pointer, dict) and isinstance(pointer.get("table"), str):
            return pointer
    except FileMissing:
        return {}
    except ValueError:
        pass
    raise RecordError(f"{uri} is damaged; remove it, and the next run starts a new table")
