"""The bytes of a Parquet manifest become record batches, unless they are damaged or a trap."""

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
"""Largest manifest that is read; with some hundred bytes a row it holds ten million of them."""
MAX_CHUNK_BYTES = 2**30
"""Largest column of one row group, uncompressed."""
_BATCH = 5_000
_BATCH_BYTES = 2**24
"""Most bytes of a batch whose rows are of usual size for their row group."""
_WORST_BATCH_BYTES = 2**28
"""Most bytes of a batch whose every row holds the largest value that its row group may hold."""
_MOST_USUAL = 2 * MAX_ROW_TEXT
"""Most bytes of a row, on average over a row group: larger ones would be rejected one by one."""
_LARGE_VALUE = 2**22
"""Texts of a dictionary that may be as large as this stay in it, so that each is there once.

Those of smaller ones do not: Arrow's dictionaries grow with each batch.
"""
_ENCRYPTED = b"PARE"
_BY_DICTIONARY = frozenset(("PLAIN_DICTIONARY", "RLE_DICTIONARY"))
_FOLDABLE = _BY_DICTIONARY | {"PLAIN", "RLE", "BIT_PACKED"}
"""Encodings that Arrow reads into dictionaries; it cannot do so with those of differences."""
_KNOWN = _FOLDABLE | {"DELTA_LENGTH_BYTE_ARRAY"}
"""Those whose values take as many bytes in the file as they are long, or are in a dictionary."""
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
        largest: Most bytes that a row may take beyond those that it has in the file.
        folds: Whether Arrow can read a text that is in many rows as one.
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
    # Group by group, since a dictionary that Arrow has begun keeps the texts of all groups.
    batches = (
        batch
        for group, rows in at_once.items()
        for batch in file.iter_batches(rows, row_groups=[group])
    )
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


def _chunks(file: pq.ParquetFile, data: bytes) -> Iterator[_Chunk]:
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
            encodings, size = frozenset(column.encodings), column.total_uncompressed_size
            largest = 0
            if column.physical_type == "BYTE_ARRAY":
                if not encodings <= _KNOWN:
                    largest = size  # values that begin as others do
                elif encodings & _BY_DICTIONARY:
                    largest = min(size, _dictionary_bytes(data, column.dictionary_page_offset))
                largest *= max(1, column.num_values // group.num_rows)
            path = column.path_in_schema
            folds = "." not in path and encodings <= _FOLDABLE
            yield _Chunk(number, path, size, group.num_rows, largest, folds)


def _dictionary_bytes(data: bytes, offset: int | None) -> int:
    """Return the unpacked size of a dictionary, from the header of its page.

    A header begins with the numbers 2, for a dictionary, and the size, in Thrift's compact form.
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
        if group.total_byte_size > _WORST_BATCH_BYTES and each > _MOST_USUAL:
            rule = (
                f"holds {each / 2**10:.0f} kB in each row of row group {number}, more than "
                f"{_MOST_USUAL / 2**10:.0f} kB; shorten its texts, or leave columns out"
            )
            raise ManifestError(place, None, None, rule)


def _check_sizes(place: str, chunks: list[_Chunk]) -> None:
    for chunk in chunks:
        if chunk.size > MAX_CHUNK_BYTES:
            rule = (
                f"holds {chunk.size / 2**20:.0f} MB in one row group, more than "
                f"{MAX_CHUNK_BYTES / 2**20:.0f} MB; write it in smaller row groups"
            )
            raise ManifestError(place, one_line(chunk.path, 80), None, rule)


def _usual_sizes(chunks: list[_Chunk]) -> Counter[int]:
    """Return the bytes that a row of each row group takes on average."""
    sizes: Counter[int] = Counter()
    for chunk in chunks:
        sizes[chunk.group] += max(1, chunk.size // chunk.rows)
    return sizes


def _measured(data: bytes, chunks: list[_Chunk], texts: list[str]) -> list[_Chunk]:
    """Return chunks with their largest value, where their dictionary tells it."""
    unfit = {chunk.path for chunk in chunks if not chunk.folds}
    names = [name for name in texts if name not in unfit]
    probe = pq.ParquetFile(io.BytesIO(data), read_dictionary=names)
    found: dict[tuple[int, str], tuple[int, int]] = {}
    for group in {chunk.group for chunk in chunks}:
        batch = next(probe.iter_batches(1, row_groups=[group], columns=names))
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if not isinstance(column, pa.DictionaryArray):
                continue  # of fixed size
            lengths = text_lengths(column.dictionary)
            packed = int(lengths.sum()) + 4 * len(lengths)
            found[group, name] = int(lengths.max(initial=0)), packed
    exact = []
    for chunk in chunks:
        longest, packed = found.get((chunk.group, chunk.path), (0, -1))
        # What was seen is the whole dictionary, not a page that stands before it.
        exact.append(replace(chunk, largest=longest) if packed >= chunk.largest else chunk)
    return exact


def _is_folded(name: str, chunks: list[_Chunk]) -> bool:
    """Tell whether a column of text is to be read without unfolding it."""
    own = [chunk for chunk in chunks if chunk.path == name]
    return all(chunk.folds for chunk in own) and any(c.largest >= _LARGE_VALUE for c in own)


def _rows_at_once(chunks: list[_Chunk], folded: list[str]) -> dict[int, int]:
    """Return how many rows of each row group are decoded at a time."""
    worst: Counter[int] = Counter()
    for chunk in chunks:
        worst[chunk.group] += 0 if chunk.path in folded else chunk.largest
    return {
        group: max(1, min(_BATCH, _BATCH_BYTES // size, _WORST_BATCH_BYTES // max(worst[group], 1)))
        for group, size in _usual_sizes(chunks).items()
    }
