"""The bytes of a Parquet manifest become record batches, unless they are damaged or a trap."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

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


@dataclass(frozen=True)
class _Chunk:
    """One column of one row group: its path, its bytes unpacked, whether its texts stay folded."""

    path: str
    size: int
    folds: bool


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
        chunks = list(_chunks(file))
        _check_sizes(place, chunks)
        texts = _foldable(schema, chunks)
        folded = pq.ParquetFile(io.BytesIO(data), read_dictionary=texts)
    return _rows_of(place, folded, _rows_at_once(chunks))


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


def _chunks(file: pq.ParquetFile) -> Iterator[_Chunk]:
    """Describe each column of each row group.

    Of a group, one row is read before: what the reader refuses there, these descriptions would
    throw through Python, which ends the process.
    """
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        if group.num_rows <= 0:
            continue
        if next(file.iter_batches(1, row_groups=[number]), None) is None:
            raise ValueError(f"row group {number} lacks its rows")
        for column in map(group.column, range(group.num_columns)):
            folds = _FOLDABLE.issuperset(column.encodings)
            yield _Chunk(column.path_in_schema, column.total_uncompressed_size, folds)


def _check_sizes(place: str, chunks: list[_Chunk]) -> None:
    for chunk in chunks:
        if chunk.size > MAX_CHUNK_BYTES:
            rule = (
                f"holds {chunk.size / 2**20:.0f} MB in one row group, more than "
                f"{MAX_CHUNK_BYTES / 2**20:.0f} MB; write it in smaller row groups"
            )
            raise ManifestError(place, one_line(chunk.path, 80), None, rule)


def _rows_at_once(chunks: list[_Chunk]) -> int:
    """Return how many rows are decoded at a time, each with the largest text that may be in it."""
    unfolded = (chunk.size for chunk in chunks if "." in chunk.path or not chunk.folds)
    return max(1, min(_BATCH, _BATCH_BYTES // max([1, *unfolded])))


def _foldable(schema: pa.Schema, chunks: list[_Chunk]) -> list[str]:
    """Name the columns of text that Arrow can read without unfolding them."""
    odd = {chunk.path for chunk in chunks if not chunk.folds}
    return [field.name for field in schema if _is_text(field.type) and field.name not in odd]


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
