"""Read and write Parquet tables through `tasks.storage`."""

import io
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.arrow import arrow_schema, from_table, to_table
from schemas.base import Row
from schemas.text import first_line
from tasks.errors import RecordError
from tasks.storage import StoragePath
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


def write_rows(file: StoragePath, rows: Iterable[R], model: type[R]) -> pa.Table:
    """Write rows as one Parquet file, atomically, and return them as a table.

    Raises:
        StorageError: the file cannot be written.
    """
    table = to_table(rows, model)
    file.write_bytes(to_bytes(table))
    return table


def read_table(file: StoragePath, remedy: str = RERUN_REMEDY) -> pa.Table:
    """Return the table in a file.

    Args:
        file: A Parquet file.
        remedy: Remedy for a damaged file, for the message.

    Raises:
        StorageError: the file is missing or cannot be read.
        RecordError: the file is damaged or not Parquet, in two reads.
    """
    return _read(file, lambda data: _table(file, data, remedy))


def read_rows_table(file: StoragePath, model: type[Row], remedy: str = RERUN_REMEDY) -> pa.Table:
    """Return the table in a file that a run has written, with the columns of a model.

    Columns that a file of an older version lacks are null.

    Args:
        file: A Parquet file.
        model: Model of a row.
        remedy: Remedy for a damaged file, for the message.

    Raises:
        StorageError: the file is missing or cannot be read.
        RecordError: the file is damaged, or its columns do not fit the model.
    """
    return _read(file, lambda data: _fitted(file, _table(file, data, remedy), model, remedy))


def _read(file: StoragePath, parse: Callable[[bytes], pa.Table]) -> pa.Table:
    return read_and_decode(file.uri, file.read_bytes, parse, (RecordError,))


def _table(file: StoragePath, data: bytes, remedy: str) -> pa.Table:
    try:
        # twice as fast for small parts as pq.read_table, which looks for data sets
        return pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True).read()
    except (pa.ArrowException, OSError) as error:
        raise RecordError(f"{file} is damaged or not a Parquet file; {remedy}") from error


def _fitted(file: StoragePath, table: pa.Table, model: type[Row], remedy: str) -> pa.Table:
    schema = arrow_schema(model)
    missing = set(schema.names) - set(table.schema.names)
    required = {name for name in missing if model.model_fields[name].is_required()}
    if required:
        raise RecordError(
            f"{file} is not a table of {model.__name__}: it lacks the columns "
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
            f"{file} is not a table of {model.__name__} ({error}); {remedy}"
        ) from error
    return pa.table(columns, schema=schema)


def read_parts(
    folder: StoragePath, model: type[Row], remedy: str = RERUN_REMEDY
) -> Iterator[tuple[str, pa.Table]]:
    """Yield name and rows of each Parquet file in a folder, sorted by name.

    Args:
        folder: The folder.
        model: Model of a row.
        remedy: Remedy for a damaged file, for the message.

    Raises:
        StorageError: the folder cannot be listed, or a file cannot be read.
        RecordError: a file is damaged or does not fit the model.
    """
    for name in part_names(folder):
        yield name, read_rows_table(folder / name, model, remedy)


def read_rows(file: StoragePath, model: type[R]) -> list[R]:
    """Return the rows in a file that a run has written.

    Raises:
        StorageError: the file is missing or cannot be read.
        RecordError: the file is damaged, or its rows do not fit the model.
    """
    table = read_rows_table(file, model)
    try:
        return from_table(table, model)
    except ValueError as error:
        what = f"is not a valid {model.__name__} ({first_line(error)})"
        raise RecordError(f"{file}: a row {what}; {RERUN_REMEDY}") from error


def keep_only(folder: StoragePath, names: set[str]) -> None:
    """Delete the Parquet files in a folder whose names are not in `names`.

    Raises:
        StorageError: the folder cannot be listed, or a file cannot be deleted.
    """
    for name in set(part_names(folder)) - names:
        (folder / name).delete()


def part_names(folder: StoragePath) -> list[str]:
    """Return the sorted names of a folder's Parquet files, without hidden files.

    Raises:
        StorageError: the folder cannot be listed.
    """
    names = folder.list_names()
    return [name for name in names if name.endswith(".parquet") and not name.startswith(".")]
