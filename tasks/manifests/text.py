"""Read CSV and JSON files into a table with a manifest's columns.

Invalid values stay in the table as text, for :mod:`tasks.manifests.rules` to report. Rows that do
not fit into a table raise a ManifestError.
"""

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from schemas.arrow import arrow_schema
from schemas.base import Row
from schemas.text import one_line, short_repr
from tasks import storage
from tasks.errors import FileMissing, FileTooLarge, ManifestError, StorageError
from tasks.manifests.rows import combine_problems
from tasks.manifests.rules import check_columns, check_count, field_names
from tasks.manifests.values import convert

TEXT_ENDINGS = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson")
MAX_BYTES = 2**28
"""Largest file in bytes; in memory it takes many times as much."""
_JSON_ENDINGS = (".json", ".jsonl", ".ndjson")
_DELIMITERS = ",;\t|"
_HEAD = 2**16
"""Number of characters that are searched for the header."""
_COMMA_NUMBER = re.compile(r"\s*[+-]?\d*,\d+\s*")
_SEP_LINE = re.compile(r'"?sep=(.)"?[ \t]*(\r\n|\r|\n)', re.IGNORECASE)
_BOMS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig"))

Numbered = list[tuple[int, dict[str, Any]]]


@dataclass(frozen=True)
class TextTable:
    """The content of a CSV or JSON file.

    Attributes:
        table: The rows without blank ones; URIs are absolute unless they are invalid.
        numbers: Number of each row in the file, from 1.
    """

    table: pa.Table
    numbers: list[int]


def read_text(src: str, model: type[Row]) -> TextTable:
    """Read a CSV or JSON file.

    Raises:
        ManifestError: the file is missing, too large, not text, not of its format, lacks a column,
            or has rows that do not fit into a table.
        StorageError: the file cannot be read.
    """
    file = storage.StoragePath.parse(src)
    try:
        data = file.read_bytes(MAX_BYTES)
    except FileMissing as error:
        raise ManifestError(file.uri, None, None, "not found; check the path") from error
    except FileTooLarge as error:
        rule = f"is larger than {MAX_BYTES / 2**20:.0f} MB; split it, or write Parquet"
        raise ManifestError(file.uri, None, None, rule) from error
    return text_table(file.uri, data, model)


def text_table(place: str, data: bytes, model: type[Row]) -> TextTable:
    """Parse a CSV or JSON file, told apart by the suffix of its URI `place`.

    Raises:
        ManifestError: as in :func:`read_text`.
    """
    text = _decoded(place, data)
    problems: list[ManifestError] = []
    if place.lower().endswith(_JSON_ENDINGS):
        records, decimal_comma = _json(place, text, problems), False
    else:
        records, decimal_comma = _csv(place, text, model, problems)
    kept = [(number, record) for number, record in records if any(map(_is_filled, record.values()))]
    names = list(dict.fromkeys(name for _, record in kept for name in record))
    _check_characters(place, kept, problems)
    if problems:
        raise combine_problems(problems)
    if not kept:
        raise ManifestError(place, None, None, "has no rows; add at least one")
    check_count(place, len(names))
    fields = field_names(names, model)
    wanted = arrow_schema(model)
    arrays = []
    for name, field in zip(names, fields, strict=True):
        cells = [record.get(name) for _, record in kept]
        kind = wanted.field(field).type if field in wanted.names else None
        if kind == pa.string():
            _check_plain(place, field, kept, name)
        arrays.append(_column(cells, field, kind, place, decimal_comma=decimal_comma))
    schema = pa.schema(
        [pa.field(name, array.type) for name, array in zip(fields, arrays, strict=True)]
    )
    check_columns(place, schema, model)
    return TextTable(pa.table(arrays, schema=schema), [number for number, _ in kept])


def _decoded(place: str, data: bytes) -> str:
    """Decode UTF-8, or UTF-16, which Excel calls "Unicode text"."""
    encoding = next((name for mark, name in _BOMS if data.startswith(mark)), "")
    if not encoding:  # in UTF-16, every other byte of Latin text is zero
        even, odd = data[:_HEAD:2].count(0), data[1:_HEAD:2].count(0)
        halves = {"utf-16-be": even, "utf-16-le": odd}
        likely = max(halves, key=halves.__getitem__)
        encoding = likely if 5 * halves[likely] > min(len(data), _HEAD) else "utf-8"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ManifestError(place, None, None, "is not UTF-8 text; save it as UTF-8") from error


def _csv(
    place: str, text: str, model: type[Row], problems: list[ManifestError]
) -> tuple[Numbered, bool]:
    """Return numbered records, and whether numbers may have a decimal comma."""
    delimiter = ""
    if found := _SEP_LINE.match(text):
        delimiter, text = found.group(1), text[found.end() :]
    delimiter = delimiter or _delimiter(text, model)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    records: Numbered = []
    try:
        names = _header(next((row for row in reader if any(map(_is_filled, row))), []))
        for name in names:
            if names.count(name) > 1:
                rule = "exists more than once; keep one"
                raise ManifestError(place, one_line(name, 80), None, rule)
        for number, row in enumerate(reader, 1):
            cells = [cell.strip() for cell in row]
            if any(cells[len(names) :]):
                rule = "has more cells than the header; put text that contains "
                rule += f"{_delimiter_name(delimiter)} into quotes"
                problems.append(ManifestError(place, None, number, rule))
                continue
            filled = dict(zip(names, cells, strict=False))
            records.append((number, {name: cell or None for name, cell in filled.items()}))
    except csv.Error as error:
        rule = f"is not valid CSV ({one_line(str(error), 120)}); correct it after line "
        raise ManifestError(place, None, None, f"{rule}{reader.line_num}") from error
    used = {name for _, record in records for name, cell in record.items() if cell}
    ghosts = {name for name in names if name.startswith(_UNNAMED) and name not in used}
    if ghosts:  # empty columns that a spreadsheet has exported
        records = [(n, {k: v for k, v in r.items() if k not in ghosts}) for n, r in records]
    return records, delimiter != ","


_UNNAMED = "unnamed column "


def _header(cells: list[str]) -> list[str]:
    return [cell.strip() or f"{_UNNAMED}{number}" for number, cell in enumerate(cells, 1)]


def _delimiter(text: str, model: type[Row]) -> str:
    """Return the delimiter that gives most of the model's fields in the header.

    Ties go to the one with more cells, then to the comma.
    """

    def score(delimiter: str) -> tuple[int, int]:
        reader = csv.reader(io.StringIO(text[:_HEAD], newline=""), delimiter=delimiter)
        try:
            cells = next((row for row in reader if any(map(_is_filled, row))), [])
        except csv.Error:
            return 0, 0
        fields = set(field_names([cell.strip() for cell in cells], model))
        return len(fields & set(model.model_fields)), len(cells)

    return max(_DELIMITERS, key=score)


def _delimiter_name(delimiter: str) -> str:
    return {",": "commas", ";": "semicolons", "\t": "tabs"}.get(delimiter, short_repr(delimiter))


def _json(place: str, text: str, problems: list[ManifestError]) -> Numbered:
    """Return the numbered objects of a JSON array, of a single object, or of JSON Lines."""
    records = []
    for number, values in _json_values(place, text, problems):
        if isinstance(values, dict):
            records.append((number, values))
        else:
            rule = "is not a JSON object such as {...}; write one object per row"
            problems.append(ManifestError(place, None, number, rule))
    return records


def _json_values(place: str, text: str, problems: list[ManifestError]) -> Iterator[tuple[int, Any]]:
    whole = text.strip()
    if whole.startswith("[") or (whole.startswith("{\n") or whole.startswith("{\r")):
        try:
            values = json.loads(whole)
        except RecursionError as error:
            rule = "is nested too deeply; write one flat object per row"
            raise ManifestError(place, None, 1, rule) from error
        except ValueError as error:
            if "\n" not in whole or whole.startswith("{"):
                rule = f"is not valid JSON ({one_line(str(error), 120)}); write one object per row"
                raise ManifestError(place, None, 1, rule) from error
        else:
            yield from enumerate(values if isinstance(values, list) else [values], 1)
            return
    filled = (line for line in text.split("\n") if line.strip())
    for number, line in enumerate(filled, 1):
        try:
            yield number, json.loads(line)
        except RecursionError:
            rule = "is nested too deeply; write one flat object per line"
            problems.append(ManifestError(place, None, number, rule))
        except ValueError as error:
            rule = f"is not valid JSON ({one_line(str(error), 120)}); write one object per line"
            problems.append(ManifestError(place, None, number, rule))


def _check_characters(place: str, records: Numbered, problems: list[ManifestError]) -> None:
    """Find lone surrogates, which JSON can express but UTF-8 cannot."""
    for number, record in records:
        for name, value in record.items():
            for text in (name, *(value if isinstance(value, list) else (value,))):
                if isinstance(text, str) and not _is_encodable(text):
                    rule = f"{short_repr(text)} contains a lone surrogate; correct it"
                    problems.append(ManifestError(place, one_line(name, 80), number, rule))


def _check_plain(place: str, field: str, records: Numbered, name: str) -> None:
    """Check that a text column has no lists or objects, which would be converted to text.

    Raises:
        ManifestError: it has some.
    """
    found = [
        (n, record[name]) for n, record in records if isinstance(record.get(name), list | dict)
    ]
    if found:
        rules = (
            (number, f"{short_repr(value)} is not text; write text or a number")
            for number, value in found
        )
        raise combine_problems(
            [ManifestError(place, field, number, rule) for number, rule in rules]
        )


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _column(
    cells: list[Any], name: str, kind: pa.DataType | None, place: str, *, decimal_comma: bool
) -> pa.Array:
    """Return cells in the type `kind`; if one cannot be converted, all of them as text."""
    if kind is None:
        return pa.array([_text(cell) for cell in cells], pa.string())
    if pa.types.is_floating(kind) and decimal_comma:
        cells = [_with_point(cell) for cell in cells]
    try:
        if pa.types.is_string(kind):
            texts = [_identifier(cell) for cell in cells]
            return pa.array(_resolved(texts, place) if name.endswith("_uri") else texts, kind)
        return pa.array([convert(cell if _is_filled(cell) else None, kind) for cell in cells], kind)
    except (ValueError, OverflowError, pa.ArrowException):
        return pa.array([_text(cell) for cell in cells], pa.string())


def _with_point(cell: Any) -> Any:
    found = isinstance(cell, str) and _COMMA_NUMBER.fullmatch(cell)
    return cell.replace(",", ".") if found else cell


def _resolved(texts: list[str | None], place: str) -> list[str | None]:
    return [_absolute(text, place) if text else None for text in texts]


def _absolute(text: str, place: str) -> str:
    try:
        return storage.resolve(text, place)
    except StorageError:
        return text  # reported later, with its row


def _identifier(cell: Any) -> str | None:
    """Return an id or a path as text; the number 12.0 becomes 12."""
    is_number = isinstance(cell, int | float) and not isinstance(cell, bool)
    return convert(cell, pa.string()) if is_number else _text(cell)


def _text(cell: Any) -> str | None:
    if not _is_filled(cell):
        return None
    if isinstance(cell, str):
        return cell
    try:
        return json.dumps(cell, ensure_ascii=False, sort_keys=True)
    except (ValueError, RecursionError):
        return short_repr(cell)


def _is_filled(cell: Any) -> bool:
    return cell is not None and (not isinstance(cell, str) or bool(cell.strip()))
