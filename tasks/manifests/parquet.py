"""Decode Parquet manifests into record batches, safe against damage and decompression bombs."""

import io
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.base import Row
from schemas.text import one_line
from tasks.errors import ManifestError
from tasks.manifests.rows import Rows
from tasks.manifests.rules import MAX_ROW_TEXT, check_columns, check_count, field_names
from tasks.manifests.values import is_text_type, text_lengths

MAX_BYTES = 2**30
"""Largest manifest in bytes: about ten million rows."""
MAX_CHUNK_BYTES = 2**30
"""Largest column of one row group, uncompressed, in bytes."""
_BATCH = 5_000
_BATCH_BYTES = 2**24
"""Largest batch in bytes, at the average row size of the row group."""
_WORST_BATCH_BYTES = 2**28
"""Largest batch in bytes, if every row has the largest values of the row group."""
_MAX_AVERAGE_ROW = 2 * MAX_ROW_TEXT
"""Largest average row size of a row group, in bytes; larger rows would be rejected anyway."""
_LARGE_VALUE = 2**22
"""A text column with values of this many bytes is read as dictionary, so each value exists once.

Columns with smaller values are not, because Arrow's dictionaries grow with each batch.
"""
_ENCRYPTED = b"PARE"
_BY_DICTIONARY = frozenset(("PLAIN_DICTIONARY", "RLE_DICTIONARY"))
_FOLDABLE = _BY_DICTIONARY | {"PLAIN", "RLE", "BIT_PACKED"}
"""Encodings that Arrow can read as dictionary; the delta encodings are not among them."""
_KNOWN = _FOLDABLE | {"DELTA_LENGTH_BYTE_ARRAY"}
"""Encodings that store each value in full length, or in a dictionary."""
_NOT_PARQUET = (
    "is not a Parquet file; `stylegallery manifest` makes one from a folder, CSV or JSON Lines"
)


@dataclass(frozen=True)
class _Chunk:
    """One column of one row group.

    Attributes:
        group: Number of the row group.
        path: Path of the column in the schema.
        size: Uncompressed size in bytes.
        rows: Number of rows in the group.
        largest: Largest number of bytes that a decoded row may take beyond its size in the file.
        folds: Whether Arrow can read the column as dictionary.
    """

    group: int
    path: str
    size: int
    rows: int
    largest: int
    folds: bool


def read_batches(
    place: str, data: bytes, model: type[Row], constants: dict[str, str | None] | None = None
) -> Iterator[Rows]:
    """Check the columns of a manifest at once, and decode its rows lazily.

    A small file may decode to much data: a text that is stored once may be in every row. Large
    texts are therefore read as dictionary where possible, else few rows are decoded at a time.

    Args:
        place: URI of the file.
        data: The bytes of a Parquet file.
        model: Model of a row.
        constants: Additional columns with one value each, such as those of Hive partitions; a
            column of the file takes precedence.

    Raises:
        ManifestError: it is not a Parquet file, is too large or lacks a column.
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
        _check_row_sizes(place, file)
        chunks = list(_chunks(file, data))
        _check_sizes(place, chunks)
        texts = [field.name for field in schema if is_text_type(field.type)]
        chunks = _measured(data, chunks, texts)
        folded = [name for name in texts if _is_folded(name, chunks)]
        file = pq.ParquetFile(io.BytesIO(data), read_dictionary=folded)
    return _rows_of(place, file, _rows_at_once(chunks, folded), more, found)


def _rows_of(
    place: str,
    file: pq.ParquetFile,
    at_once: dict[int, int],
    constants: dict[str, str | None],
    names: list[str],
) -> Iterator[Rows]:
    before = 0
    # Group by group, because an Arrow reader's dictionary keeps the texts of all its groups.
    batches = (
        batch
        for group, rows in at_once.items()
        for batch in file.iter_batches(rows, row_groups=[group])
    )
    while True:
        with _refusing(place, "is damaged; write it again"):
            batch = next(batches, None)
            if batch is None:
                return
            batch.validate(full=True)  # checks that texts are UTF-8
        for name, text in constants.items():
            column = pa.array([text], pa.string()).dictionary_encode()
            batch = batch.append_column(name, column.take(pa.array([0] * len(batch))))
        numbers = range(before + 1, before + 1 + len(batch))
        before += len(batch)
        yield Rows(place, numbers, batch.rename_columns(names))


@contextmanager
def _refusing(place: str, rule: str) -> Iterator[None]:
    """Turn any error of the Parquet reader into a ManifestError with this rule."""
    try:
        yield
    except ManifestError:
        raise
    except MemoryError as error:
        rule = "needs too much memory; write it in smaller row groups"
        raise ManifestError(place, None, None, rule) from error
    except Exception as error:  # Arrow's errors, and those of bad names and numbers
        what, semicolon, remedy = rule.partition(";")
        reason = one_line(str(error), 120)
        raise ManifestError(place, None, None, f"{what} ({reason}){semicolon}{remedy}") from error


def _chunks(file: pq.ParquetFile, data: bytes) -> Iterator[_Chunk]:
    """Describe each column of each row group.

    One row of each group is read first, to detect damage: on some damaged files, access to the
    column metadata would abort the process.
    """
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        if group.num_rows <= 0:
            continue
        if next(file.iter_batches(1, row_groups=[number]), None) is None:
            raise ValueError(f"row group {number} lacks its rows")
        for column in map(group.column, range(group.num_columns)):
            encodings, size = frozenset(column.encodings), column.total_uncompressed_size
            largest = 0
            if column.physical_type == "BYTE_ARRAY":
                if not encodings <= _KNOWN:
                    largest = size  # delta encoding: a value may contain the one before
                elif encodings & _BY_DICTIONARY:
                    largest = min(size, _dictionary_bytes(data, column.dictionary_page_offset))
                largest *= max(1, column.num_values // group.num_rows)
            path = column.path_in_schema
            folds = "." not in path and encodings <= _FOLDABLE
            yield _Chunk(number, path, size, group.num_rows, largest, folds)


def _dictionary_bytes(data: bytes, offset: int | None) -> int:
    """Return the uncompressed size of a dictionary page, from its header.

    In Thrift's compact protocol, a header begins with the page type (2 for a dictionary) and the
    uncompressed size.
    """
    head = data[offset or 0 : (offset or 0) + 8]
    if offset is None or offset < 0 or head[:3] != b"\x15\x04\x15":
        return len(data) + MAX_CHUNK_BYTES  # unknown
    size = 0
    for place, byte in enumerate(head[3:]):
        size |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            break
    return size >> 1


def _check_row_sizes(place: str, file: pq.ParquetFile) -> None:
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        each = group.total_byte_size / max(group.num_rows, 1)
        if group.total_byte_size > _WORST_BATCH_BYTES and each > _MAX_AVERAGE_ROW:
            rule = (
                f"has {each / 2**10:.0f} kB per row in row group {number}, more than "
                f"{_MAX_AVERAGE_ROW / 2**10:.0f} kB; shorten its texts, or leave out columns"
            )
            raise ManifestError(place, None, None, rule)


def _check_sizes(place: str, chunks: list[_Chunk]) -> None:
    for chunk in chunks:
        if chunk.size > MAX_CHUNK_BYTES:
            rule = (
                f"has {chunk.size / 2**20:.0f} MB in one row group, more than "
                f"{MAX_CHUNK_BYTES / 2**20:.0f} MB; write it in smaller row groups"
            )
            raise ManifestError(place, one_line(chunk.path, 80), None, rule)


def _usual_sizes(chunks: list[_Chunk]) -> Counter[int]:
    """Return the average size of a row of each row group, in bytes."""
    sizes: Counter[int] = Counter()
    for chunk in chunks:
        sizes[chunk.group] += max(1, chunk.size // chunk.rows)
    return sizes


def _measured(data: bytes, chunks: list[_Chunk], texts: list[str]) -> list[_Chunk]:
    """Return the chunks with the exact size of the largest value, if the dictionary shows it."""
    unfit = {chunk.path for chunk in chunks if not chunk.folds}
    names = [name for name in texts if name not in unfit]
    probe = pq.ParquetFile(io.BytesIO(data), read_dictionary=names)
    found: dict[tuple[int, str], tuple[int, int]] = {}
    for group in {chunk.group for chunk in chunks}:
        batch = next(probe.iter_batches(1, row_groups=[group], columns=names))
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if not isinstance(column, pa.DictionaryArray):
                continue  # values of fixed size
            lengths = text_lengths(column.dictionary)
            packed = int(lengths.sum()) + 4 * len(lengths)
            found[group, name] = int(lengths.max(initial=0)), packed
    exact = []
    for chunk in chunks:
        longest, packed = found.get((chunk.group, chunk.path), (0, -1))
        # Only if the decoded dictionary is as large as the header says, so it is the real one.
        exact.append(replace(chunk, largest=longest) if packed >= chunk.largest else chunk)
    return exact


def _is_folded(name: str, chunks: list[_Chunk]) -> bool:
    """Tell whether to read a text column as dictionary."""
    own = [chunk for chunk in chunks if chunk.path == name]
    return all(chunk.folds for chunk in own) and any(c.largest >= _LARGE_VALUE for c in own)


def _rows_at_once(chunks: list[_Chunk], folded: list[str]) -> dict[int, int]:
    """Return the number of rows per batch for each row group."""
    worst: Counter[int] = Counter()
    for chunk in chunks:
        worst[chunk.group] += 0 if chunk.path in folded else chunk.largest
    return {
        group: max(1, min(_BATCH, _BATCH_BYTES // size, _WORST_BATCH_BYTES // max(worst[group], 1)))
        for group, size in _usual_sizes(chunks).items()
    }
