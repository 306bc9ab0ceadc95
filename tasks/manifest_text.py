"""CSV and JSON Lines read into the typed values that a manifest's columns hold."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from datetime import date
from typing import Any

import pyarrow as pa

from schemas.arrow import arrow_schema
from schemas.base import Row
from stylegallery.wording import one_line, shown
from tasks import storage
from tasks.errors import FileMissing, FileTooLarge, ManifestError, StorageError

LIST_SEPARATOR = ";"
"""Between the galleries of one CSV cell."""
MAX_BYTES = 2**28
"""Largest text that is read; in memory it takes many times as much."""
_URIS = ("image_uri", "mask_uri", "protect_uri", "routing_uri")
_INT64 = range(-(2**63), 2**63)

Lines = Iterator[tuple[int, dict[str, Any]]]


def read_records(src: str, model: type[Row]) -> list[dict[str, Any]]:
    """Read a .csv or .jsonl file; URIs are made absolute, further columns become text.

    Raises:
        ManifestError: it is missing, too large, not UTF-8, not of its format, or a value has the
            wrong type.
        StorageError: it cannot be read.
    """
    place = storage.absolute(src)
    try:
        data = storage.read_bytes(place, MAX_BYTES)
    except FileMissing as error:
        raise ManifestError(place, None, None, "not found; check the path") from error
    except FileTooLarge as error:
        rule = f"is larger than {MAX_BYTES / 2**20:.0f} MB; split it, or write Parquet"
        raise ManifestError(place, None, None, rule) from error
    return records_of(place, data, model)


def records_of(place: str, data: bytes, model: type[Row]) -> list[dict[str, Any]]:
    """Read the bytes of a CSV file, or of JSON Lines where the name does not end in .csv.

    Raises:
        ManifestError: they are not UTF-8, not of the format, or a value has the wrong type.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(place, None, None, "is not UTF-8 text; save it as UTF-8") from error
    lines = _csv(place, text) if place.lower().endswith(".csv") else _jsonl(place, text)
    records = [_typed(place, number, values, model) for number, values in lines]
    if not records:
        raise ManifestError(place, None, None, "has no rows; add at least one")
    return records


def _csv(place: str, text: str) -> Lines:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        for name, count in Counter(reader.fieldnames or ()).items():
            if count > 1:
                rule = "is there more than once; keep one"
                raise ManifestError(place, one_line(name, 80) or "(no name)", None, rule)
        for number, values in enumerate(reader, 1):
            if None in values:
                rule = "has more cells than there are columns; put text with commas into quotes"
                raise ManifestError(place, None, number, rule)
            yield number, {name: value or None for name, value in values.items()}
    except csv.Error as error:
        rule = f"is no CSV file ({one_line(str(error), 120)}); correct it after line "
        raise ManifestError(place, None, None, f"{rule}{reader.line_num}") from error


def _jsonl(place: str, text: str) -> Lines:
    filled = (line for line in text.split("\n") if line.strip())
    for number, line in enumerate(filled, 1):
        try:
            values = json.loads(line)
        except RecursionError as error:
            rule = "is nested too deep; write one flat object"
            raise ManifestError(place, None, number, rule) from error
        except ValueError as error:
            rule = f"is no JSON ({one_line(str(error), 120)}); write one object a line"
            raise ManifestError(place, None, number, rule) from error
        if not isinstance(values, dict):
            rule = "is no JSON object such as {...}; write one object a line"
            raise ManifestError(place, None, number, rule)
        yield number, values


def _typed(place: str, number: int, values: dict[str, Any], model: type[Row]) -> dict[str, Any]:
    wanted = arrow_schema(model)
    found: dict[str, Any] = {}
    for name, value in values.items():
        _check_text(place, number, name, name)
        if value is None or value == "":
            found[name] = None
            continue
        kind = wanted.field(name).type if name in wanted.names else pa.string()
        value = _value(place, number, name, value, kind)
        for text in value if isinstance(value, list) else [value]:
            _check_text(place, number, name, text)
        found[name] = value
    return found


def _check_text(place: str, number: int, name: str, value: Any) -> None:
    """Refuse half of a character, which JSON can spell and no file can hold."""
    if not isinstance(value, str):
        return
    try:
        value.encode()
    except UnicodeEncodeError as error:
        rule = f"{shown(value)} holds half of a character; correct it"
        raise ManifestError(place, one_line(name, 80), number, rule) from error


def _value(place: str, number: int, name: str, value: Any, kind: pa.DataType) -> Any:
    try:
        if pa.types.is_list(kind):
            items = value.split(LIST_SEPARATOR) if isinstance(value, str) else list(value)
            return [str(item).strip() for item in items if str(item).strip()] or None
        if pa.types.is_integer(kind):
            return _integer(value)
        if pa.types.is_floating(kind):
            return float(value)
        if pa.types.is_date(kind):
            return date.fromisoformat(value)
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        return storage.resolve(text, place) if name in _URIS else text
    except StorageError as error:
        raise ManifestError(place, name, number, one_line(str(error), 800)) from error
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        rule = f"{shown(value)} is no {kind}; correct it"
        raise ManifestError(place, one_line(name, 80), number, rule) from error


def _integer(value: Any) -> int:
    number = int(value)
    if number not in _INT64 or (isinstance(value, float) and number != value):
        raise ValueError("no whole number of 64 bits")
    return number
