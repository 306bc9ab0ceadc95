"""Read and write Parquet tables at URIs, through `tasks.storage`."""

import io
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.arrow import arrow_schema, from_table, to_table
from schemas.base import Row
from schemas.text import first_line
from tasks import storage
from tasks.errors import RecordError
from tasks.storage.transient import read_and_decode

R = TypeVar("R", bound=Row)

ROW_GROUP = 20_000

RERUN_REMEDY = "run the same command again to rewrite it"
"""Remedy for a damaged table that finalizing a run rewrites."""
REMOVE_REMEDY = "delete it and run the same command again, which computes its items again"
"""Remedy for a damaged table to which runs append."""
EVALUATE_REMEDY = "evaluate the run again"
"""Remedy for a damaged table of an evaluation."""


def to_bytes(table: pa.Table) -> bytes:
    """Return `table` as a Parquet file with page checksums; equal tables give equal bytes."""
    out = io.BytesIO()
    pq.write_table(
        table, out, compression="zstd", row_group_size=ROW_GROUP, write_page_checksum=True
    )
    return out.getvalue()


def write_rows(uri: str, rows: Iterable[R], model: type[R]) -> pa.Table:
    """Write rows as one Parquet file, atomically, and return them as a table.

    Raises:
        StorageError: the file cannot be written.
    """
    table = to_table(rows, model)
    storage.write_bytes(uri, to_bytes(table))
    return table


def read_table(uri: str, remedy: str = RERUN_REMEDY) -> pa.Table:
    """Return the table at `uri`.

    Args:
        uri: A Parquet file.
        remedy: Remedy for a damaged file, for the message.

    Raises:
        StorageError: the file is missing or cannot be read.
        RecordError: the file is damaged or not Parquet, in two reads.
    """
    return _read(uri, lambda data: _table(uri, data, remedy))


def read_rows_table(uri: str, model: type[Row], remedy: str = RERUN_REMEDY) -> pa.Table:
    """Return the table at `uri`, written by a run, with the columns of a model.

    Columns that a file of an older version lacks are null.

    Args:
        uri: A Parquet file.
        model: Model of a row.
        remedy: Remedy for a damaged file, for the message.

    Raises:
        StorageError: the file is missing or cannot be read.
        RecordError: the file is damaged, or its columns do not fit the model.
    """
    return _read(uri, lambda data: _fitted(uri, _table(uri, data, remedy), model, remedy))


def _read(uri: str, parse: Callable[[bytes], pa.Table]) -> pa.Table:
    return read_and_decode(uri, lambda: storage.read_bytes(uri), parse, (RecordError,))


def _table(uri: str, data: bytes, remedy: str) -> pa.Table:
    try:
        # twice as fast for small parts as pq.read_table, which looks for data sets
        return pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True).read()
    except (pa.ArrowException, OSError) as error:
        raise RecordError(f"{uri} is damaged or not a Parquet file; {remedy}") from error


def _fitted(uri: str, table: pa.Table, model: type[Row], remedy: str) -> pa.Table:
    schema = arrow_schema(model)
    missing = set(schema.names) - set(table.schema.names)
    required = {name for name in missing if model.model_fields[name].is_required()}
    if required:
        raise RecordError(
            f"{uri} is not a table of {model.__name__}: it lacks the columns "
            f"{', '.join(sorted(required))}; {remedy}"
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
            f"{uri} is not a table of {model.__name__} ({error}); {remedy}"
        ) from error
    return pa.table(columns, schema=schema)


def read_parts(
    folder: str, model: type[Row], remedy: str = RERUN_REMEDY
) -> Iterator[tuple[str, pa.Table]]:
    """Yield name and rows of each Parquet file in a folder, sorted by name.

    Args:
        folder: Absolute URI of the folder.
        model: Model of a row.
        remedy: Remedy for a damaged file, for the message.

    Raises:
        StorageError: the folder cannot be listed, or a file cannot be read.
        RecordError: a file is damaged or does not fit the model.
    """
    for name in part_names(folder):
        yield name, read_rows_table(storage.join(folder, name), model, remedy)


def read_rows(uri: str, model: type[R]) -> list[R]:
    """Return the rows at `uri`, written by a run.

    Raises:
        StorageError: the file is missing or cannot be read.
        RecordError: the file is damaged, or its rows do not fit the model.
    """
    table = read_rows_table(uri, model)
    try:
        return from_table(table, model)
    except ValueError as error:
        what = f"is not a valid {model.__name__} ({first_line(error)})"
        raise RecordError(f"{uri}: a row {what}; {RERUN_REMEDY}") from error


def keep_only(folder: str, names: set[str]) -> None:
    """Delete the Parquet files in a folder whose names are not in `names`.

    Raises:
        StorageError: the folder cannot be listed, or a file cannot be deleted.
    """
    for name in set(part_names(folder)) - names:
        storage.delete(storage.join(folder, name))


def part_names(folder: str) -> list[str]:
    """Return the sorted names of a folder's Parquet files, without hidden files.

    Raises:
        StorageError: the folder cannot be listed.
    """
    names = storage.list_names(folder)
    return [name for name in names if name.endswith(".parquet") and not name.startswith(".")]
