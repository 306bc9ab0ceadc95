"""The bytes of a Parquet manifest become record batches, unless they are damaged or a trap."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.base import Row
from stylegallery.wording import one_line
from tasks.errors import ManifestError
from tasks.manifest_checks import check_columns, check_count

MAX_BYTES = 2**30
"""Largest manifest that is read; with some hundred bytes a row it holds ten million of them."""
MAX_CHUNK_BYTES = 2**30
"""Largest column of one row group, uncompressed."""
_BATCH = 5_000
_BATCH_BYTES = 2**29
_ENCRYPTED = b"PARE"
_FOLDABLE = frozenset(("PLAIN", "RLE", "BIT_PACKED", "PLAIN_DICTIONARY", "RLE_DICTIONARY"))
"""Encodings that Arrow reads into dictionaries; it cannot do so with those of differences."""
_NOT_PARQUET = (
    "is no Parquet file; `stylegallery manifest` makes one from a folder, CSV or JSON Lines"
)


def batches_of(place: str, data: bytes, model: type[Row]) -> Iterator[pa.RecordBatch]:
    """Check the columns of a manifest now; its rows are decoded when they are asked for.

    A small file can hold much: a text that stands in it once may be in every row. Texts are
    therefore not unfolded here, and where they have to be, few rows are decoded at a time.

    Raises:
        ManifestError: it is no Parquet file, has no rows, is too large or lacks a column.
    """
    if data.endswith(_ENCRYPTED):
        rule = "is encrypted, which is not supported; write it without encryption"
        raise ManifestError(place, None, None, rule)
    with _refusing(place, _NOT_PARQUET):
        file = pq.ParquetFile(io.BytesIO(data))
        schema, rows = file.schema_arrow, file.metadata.num_rows
        names = list(schema.names)
    check_count(place, len(names))
    check_columns(place, schema, model)
    if rows <= 0:
        raise ManifestError(place, None, None, "has no rows; add at least one")
    with _refusing(place, _NOT_PARQUET):
        _check_sizes(place, file.metadata)
        texts = _foldable(schema, file.metadata)
        folded = pq.ParquetFile(io.BytesIO(data), read_dictionary=texts)
        at_once = _rows_at_once(file.metadata)
    return _rows_of(place, folded, at_once)


def _rows_of(place: str, file: pq.ParquetFile, at_once: int) -> Iterator[pa.RecordBatch]:
    batches = file.iter_batches(at_once)
    while True:
        with _refusing(place, "is damaged; write it anew"):
            batch = next(batches, None)
            if batch is None:
                return
            batch.validate(full=True)  # texts that are no UTF-8
        yield batch


@contextmanager
def _refusing(place: str, rule: str) -> Iterator[None]:
    """Turn whatever the reader makes of damaged bytes into a refusal."""
    try:
        yield
    except ManifestError:
        raise
    except MemoryError as error:
        rule = "takes more memory than there is; write it in smaller row groups"
        raise ManifestError(place, None, None, rule) from error
    except Exception as error:  # Arrow's own, and what Python makes of names and numbers in it
        what, semicolon, remedy = rule.partition(";")
        reason = one_line(str(error), 120)
        raise ManifestError(place, None, None, f"{what} ({reason}){semicolon}{remedy}") from error


def _check_sizes(place: str, metadata: pq.FileMetaData) -> None:
    for chunk in _chunks(metadata):
        size = chunk.total_uncompressed_size
        if size > MAX_CHUNK_BYTES:
            rule = (
                f"holds {size / 2**20:.0f} MB in one row group, more than "
                f"{MAX_CHUNK_BYTES / 2**20:.0f} MB; write it in smaller row groups"
            )
            raise ManifestError(place, one_line(chunk.path_in_schema, 80), None, rule)


def _rows_at_once(metadata: pq.FileMetaData) -> int:
    """Return how many rows are decoded at a time, each with the largest text that may be in it."""
    largest = 1
    for chunk in _chunks(metadata):
        nested = "." in chunk.path_in_schema
        if nested or not _FOLDABLE.issuperset(chunk.encodings):
            largest = max(largest, chunk.total_uncompressed_size)
    return max(1, min(_BATCH, _BATCH_BYTES // largest))


def _foldable(schema: pa.Schema, metadata: pq.FileMetaData) -> list[str]:
    """Name the columns of text that Arrow can read without unfolding them."""
    odd = {c.path_in_schema for c in _chunks(metadata) if not _FOLDABLE.issuperset(c.encodings)}
    return [field.name for field in schema if _is_text(field.type) and field.name not in odd]


def _chunks(metadata: pq.FileMetaData) -> Iterator[pq.ColumnChunkMetaData]:
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for column in range(row_group.num_columns):
            yield row_group.column(column)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
