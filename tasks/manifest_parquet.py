"""The bytes of a Parquet manifest become record batches, unless they are damaged or a trap."""

import io
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.base import Row
from stylegallery.wording import one_line
from tasks.errors import ManifestError
from tasks.manifest_checks import check_columns, check_count, field_names
from tasks.manifest_rows import Rows
from tasks.manifest_values import is_text

MAX_BYTES = 2**30
"""Largest manifest that is read; with some hundred bytes a row it holds ten million of them."""
MAX_CHUNK_BYTES = 2**30
"""Largest column of one row group, uncompressed."""
_BATCH = 5_000
_BATCH_BYTES = 2**25
"""Most bytes of a batch whose rows are of usual size for their row group."""
_WORST_BATCH_BYTES = 2**28
"""Most bytes of a batch whose every row holds the largest value that its row group may hold."""
_ENCRYPTED = b"PARE"
_FOLDABLE = frozenset(("PLAIN", "RLE", "BIT_PACKED", "PLAIN_DICTIONARY", "RLE_DICTIONARY"))
"""Encodings that Arrow reads into dictionaries; it cannot do so with those of differences."""
_NOT_PARQUET = (
    "is no Parquet file; `stylegallery manifest` makes one from a folder, CSV or JSON Lines"
)


@dataclass(frozen=True)
class _Chunk:
    """One column of one row group.

    Attributes:
        group: The row group's number.
        path: Its path in the schema.
        size: Its bytes, unpacked.
        rows: How many rows the group has.
        folds: Whether a text that is in many rows can be read as one.
        varies: Whether its values differ in size: texts and lists do, numbers do not.
    """

    group: int
    path: str
    size: int
    rows: int
    folds: bool
    varies: bool


def batches_of(
    place: str, data: bytes, model: type[Row], constants: dict[str, str | None] | None = None
) -> Iterator[Rows]:
    """Check the columns of a manifest now; its rows are decoded when they are asked for.

    A small file can hold much: a text that stands in it once may be in every row. Texts are
    therefore not unfolded here, and where they have to be, few rows are decoded at a time.

    Args:
        place: Where the bytes come from.
        data: The bytes of a Parquet file.
        model: What a row should be.
        constants: Further columns with one value each, such as the names of folders tell; a
            column of the file comes before them.

    Raises:
        ManifestError: it is no Parquet file, is too large or lacks a column.
    """
    if data.endswith(_ENCRYPTED):
        rule = "is encrypted, which is not supported; write it without encryption"
        raise ManifestError(place, None, None, rule)
    with _refusing(place, _NOT_PARQUET):
        file = pq.ParquetFile(io.BytesIO(data))
        schema, rows = file.schema_arrow, file.metadata.num_rows
        names = list(schema.names)
    check_count(place, len(names))
    more = {name: text for name, text in (constants or {}).items() if name not in names}
    fields = [*schema, *(pa.field(name, pa.string()) for name in more)]
    found = field_names([field.name for field in fields], model)
    check_columns(
        place,
        pa.schema([field.with_name(name) for field, name in zip(fields, found, strict=True)]),
        model,
    )
    if rows <= 0:
        return iter(())
    with _refusing(place, _NOT_PARQUET):
        chunks = list(_chunks(file))
        _check_sizes(place, chunks)
        texts = _foldable(schema, chunks)
        folded = pq.ParquetFile(io.BytesIO(data), read_dictionary=texts)
    return _rows_of(place, folded, _rows_at_once(chunks), more, found)


def _rows_of(
    place: str,
    file: pq.ParquetFile,
    at_once: int,
    constants: dict[str, str | None],
    names: list[str],
) -> Iterator[Rows]:
    batches, before = file.iter_batches(at_once), 0
    while True:
        with _refusing(place, "is damaged; write it anew"):
            batch = next(batches, None)
            if batch is None:
                return
            batch.validate(full=True)  # texts that are no UTF-8
        for name, text in constants.items():
            column = pa.array([text], pa.string()).dictionary_encode()
            batch = batch.append_column(name, column.take(pa.array([0] * len(batch))))
        numbers = range(before + 1, before + 1 + len(batch))
        before += len(batch)
        yield Rows(place, numbers, batch.rename_columns(names))


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
            path = column.path_in_schema
            yield _Chunk(
                number,
                path,
                column.total_uncompressed_size,
                group.num_rows,
                "." not in path and _FOLDABLE.issuperset(column.encodings),
                "." in path or column.physical_type == "BYTE_ARRAY",
            )


def _check_sizes(place: str, chunks: list[_Chunk]) -> None:
    for chunk in chunks:
        if chunk.size > MAX_CHUNK_BYTES:
            rule = (
                f"holds {chunk.size / 2**20:.0f} MB in one row group, more than "
                f"{MAX_CHUNK_BYTES / 2**20:.0f} MB; write it in smaller row groups"
            )
            raise ManifestError(place, one_line(chunk.path, 80), None, rule)


def _rows_at_once(chunks: list[_Chunk]) -> int:
    """Return how many rows are decoded at a time."""
    each: Counter[int] = Counter()
    for chunk in chunks:
        each[chunk.group] += max(1, chunk.size // chunk.rows)
    usual = max(each.values(), default=0)
    worst = max((chunk.size for chunk in chunks if chunk.varies and not chunk.folds), default=0)
    most = min(_BATCH_BYTES // max(usual, 1), _WORST_BATCH_BYTES // max(worst, 1))
    return max(1, min(_BATCH, most))


def _foldable(schema: pa.Schema, chunks: list[_Chunk]) -> list[str]:
    """Name the columns of text that Arrow can read without unfolding them."""
    odd = {chunk.path for chunk in chunks if not chunk.folds}
    return [field.name for field in schema if is_text(field.type) and field.name not in odd]
