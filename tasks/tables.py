"""Parquet tables at URIs: built and read in memory, moved by `tasks.storage`."""

import io
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.arrow import arrow_schema, from_table, to_table
from schemas.base import Row
from tasks import storage
from tasks.errors import RecordError
from tasks.retry import read_twice

R = TypeVar("R", bound=Row)

ROW_GROUP = 20_000

MADE_ANEW = "run the same command again, which writes it anew"
"""What helps when a table is damaged that every end of a run writes."""
KEPT = "remove it and run the same command again, which does anew what it alone told of"
"""What helps when a table is damaged that runs add to."""
JUDGED = "evaluate the run again"
"""What helps when a table of an evaluation is damaged."""


def to_bytes(table: pa.Table) -> bytes:
    """Return `table` as a Parquet file with checksums; equal tables give equal bytes."""
    out = io.BytesIO()
    pq.write_table(
        table, out, compression="zstd", row_group_size=ROW_GROUP, write_page_checksum=True
    )
    return out.getvalue()


def write_rows(uri: str, rows: Iterable[R], model: type[R]) -> pa.Table:
    """Write rows as one Parquet file, whole or not at all, and return them as a table.

    Raises:
        StorageError: it cannot be written.
    """
    table = to_table(rows, model)
    storage.write_bytes(uri, to_bytes(table))
    return table


def read_table(uri: str, remedy: str = MADE_ANEW) -> pa.Table:
    """Return the table at `uri`.

    Args:
        uri: A Parquet file.
        remedy: What helps when it is damaged, for the message.

    Raises:
        StorageError: it is missing or cannot be read.
        RecordError: it is no Parquet file, in two reads.
    """
    return _read(uri, lambda data: _table(uri, data, remedy))


def read_rows_table(uri: str, model: type[Row], remedy: str = MADE_ANEW) -> pa.Table:
    """Return the table at `uri`, which a run of ours must have written, in a model's columns.

    Columns that an older version did not know yet are null.

    Args:
        uri: A Parquet file.
        model: What a row should be.
        remedy: What helps when it is damaged, for the message.

    Raises:
        StorageError: it is missing or cannot be read.
        RecordError: it is damaged, lacks columns of this model, or has others of the same name.
    """
    return _read(uri, lambda data: _fitted(uri, _table(uri, data, remedy), model, remedy))


def _read(uri: str, parse: Callable[[bytes], pa.Table]) -> pa.Table:
    return read_twice(uri, lambda: storage.read_bytes(uri), parse, (RecordError,))


def _table(uri: str, data: bytes, remedy: str) -> pa.Table:
    try:
        # half as slow for small parts as pq.read_table, which looks for data sets
        return pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True).read()
    except (pa.ArrowException, OSError) as error:
        raise RecordError(f"{uri} is damaged or no Parquet file; {remedy}") from error


def _fitted(uri: str, table: pa.Table, model: type[Row], remedy: str) -> pa.Table:
    schema = arrow_schema(model)
    missing = set(schema.names) - set(table.schema.names)
    required = {name for name in missing if model.model_fields[name].is_required()}
    if required:
        raise RecordError(
            f"{uri} lacks the columns {', '.join(sorted(required))}, so it is no table of "
            f"{model.__name__}; {remedy}"
        )
    try:
        columns = [
            pa.nulls(len(table), field.type)
            if field.name in missing
            else table[field.name].cast(field.type)
            for field in schema
        ]
    except pa.ArrowException as error:
        raise RecordError(f"{uri} is no table of {model.__name__} ({error}); {remedy}") from error
    return pa.table(columns, schema=schema)


def read_parts(
    folder: str, model: type[Row], remedy: str = MADE_ANEW
) -> Iterator[tuple[str, pa.Table]]:
    """Yield name and rows of each Parquet file of a folder, in order.

    Args:
        folder: Where they lie.
        model: What a row should be.
        remedy: What helps when one is damaged, for the message.

    Raises:
        StorageError: the folder cannot be listed, or a file not be read.
        RecordError: a file is damaged or no table of this model.
    """
    for name in part_names(folder):
        yield name, read_rows_table(storage.join(folder, name), model, remedy)


def read_rows(uri: str, model: type[R]) -> list[R]:
    """Return the rows at `uri`, which a run of ours must have written.

    Raises:
        StorageError: it is missing or cannot be read.
        RecordError: it is damaged, or its rows are not of this model.
    """
    table = read_rows_table(uri, model)
    try:
        return from_table(table, model)
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise RecordError(
            f"{uri} holds rows that are no {model.__name__} ({reason}); {MADE_ANEW}"
        ) from error


def keep_only(folder: str, names: set[str]) -> None:
    """Delete the Parquet files of a folder that have other names.

    Raises:
        StorageError: the folder cannot be listed, or a file not be deleted.
    """
    for name in set(part_names(folder)) - names:
        storage.delete(storage.join(folder, name))


def part_names(folder: str) -> list[str]:
    """Return the names of a folder's Parquet files, in order, but for hidden ones of others.

    Raises:
        StorageError: it cannot be listed.
    """
    names = storage.list_names(folder)
    return [name for name in names if name.endswith(".parquet") and not name.startswith(".")]
