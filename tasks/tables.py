"""Parquet tables at URIs: built and read in memory, moved by `tasks.storage`."""

import io
from collections.abc import Iterable, Iterator
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.arrow import arrow_schema, from_table, to_table
from schemas.base import Row
from tasks import storage
from tasks.errors import RecordError

R = TypeVar("R", bound=Row)

ROW_GROUP = 20_000


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


def read_table(uri: str) -> pa.Table:
    """Return the table at `uri`.

    Raises:
        StorageError: it is missing or cannot be read.
        RecordError: it is no Parquet file.
    """
    data = storage.read_bytes(uri)
    try:
        # half as slow for small parts as pq.read_table, which looks for data sets
        return pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True).read()
    except (pa.ArrowException, OSError) as error:
        raise RecordError(
            f"{uri} is damaged or no Parquet file; remove it and run the same command again, "
            "which does its items anew"
        ) from error


def read_rows_table(uri: str, model: type[Row]) -> pa.Table:
    """Return the table at `uri`, which a run of ours must have written, in a model's columns.

    Columns that an older version did not know yet are null.

    Raises:
        StorageError: it is missing or cannot be read.
        RecordError: it is damaged, lacks columns of this model, or has others of the same name.
    """
    table, schema = read_table(uri), arrow_schema(model)
    missing = set(schema.names) - set(table.schema.names)
    required = {name for name in missing if model.model_fields[name].is_required()}
    if required:
        raise RecordError(
            f"{uri} lacks the columns {', '.join(sorted(required))}, so it is no table of "
            f"{model.__name__}; move it away and run the same command again"
        )
    try:
        columns = [
            pa.nulls(len(table), field.type)
            if field.name in missing
            else table[field.name].cast(field.type)
            for field in schema
        ]
    except pa.ArrowException as error:
        raise RecordError(
            f"{uri} is no table of {model.__name__} ({error}); move it away and run the same "
            "command again"
        ) from error
    return pa.table(columns, schema=schema)


def read_parts(folder: str, model: type[Row]) -> Iterator[tuple[str, pa.Table]]:
    """Yield name and rows of each Parquet file of a folder, in order.

    Raises:
        StorageError: the folder cannot be listed, or a file not be read.
        RecordError: a file is damaged or no table of this model.
    """
    for name in part_names(folder):
        yield name, read_rows_table(storage.join(folder, name), model)


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
            f"{uri} holds rows that are no {model.__name__} ({reason}); move it away and run the "
            "same command again"
        ) from error


def part_names(folder: str) -> list[str]:
    """Return the names of a folder's Parquet files, in order.

    Raises:
        StorageError: it cannot be listed.
    """
    return [name for name in storage.list_names(folder) if name.endswith(".parquet")]
