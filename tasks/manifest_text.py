"""CSV and JSON Lines read into the typed values that a manifest's columns hold."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import date
from typing import Any

import pyarrow as pa

from schemas.arrow import arrow_schema
from schemas.base import Row
from tasks import storage
from tasks.errors import FileMissing, ManifestError, StorageError

LIST_SEPARATOR = ";"
"""Between the galleries of one CSV cell."""


def read_records(src: str, model: type[Row]) -> list[dict[str, Any]]:
    """Read a .csv or .jsonl file; URIs are made absolute, further columns become text.

    Raises:
        ManifestError: it is missing, not UTF-8, not of its format, or a value has the wrong type.
        StorageError: it cannot be read.
    """
    place = storage.absolute(src)
    try:
        text = storage.read_bytes(place).decode("utf-8-sig")
    except FileMissing as error:
        raise ManifestError(place, None, None, "not found; check the path") from error
    except UnicodeDecodeError as error:
        raise ManifestError(place, None, None, "is not UTF-8 text; save it as UTF-8") from error
    lines = _csv(place, text) if src.lower().endswith(".csv") else _jsonl(place, text)
    records = [_typed(place, number, values, model) for number, values in lines]
    if not records:
        raise ManifestError(place, None, None, "has no rows; add at least one")
    return records


def _csv(place: str, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        for number, values in enumerate(reader, 1):
            if None in values:
                raise ManifestError(place, None, number, "has more cells than there are columns")
            yield number, {name: value or None for name, value in values.items()}
    except csv.Error as error:
        raise ManifestError(place, None, None, f"is no CSV file ({error})") from error


def _jsonl(place: str, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    filled = (line for line in text.split("\n") if line.strip())
    for number, line in enumerate(filled, 1):
        try:
            values = json.loads(line)
        except ValueError as error:
            raise ManifestError(place, None, number, f"is no JSON ({error})") from error
        if not isinstance(values, dict):
            raise ManifestError(place, None, number, "is no JSON object such as {...}")
        yield number, values


def _typed(place: str, number: int, values: dict[str, Any], model: type[Row]) -> dict[str, Any]:
    wanted = arrow_schema(model)
    found: dict[str, Any] = {}
    for name, value in values.items():
        if value is None or value == "":
            found[name] = None
        elif name not in wanted.names:
            found[name] = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        else:
            found[name] = _value(place, number, name, value, wanted.field(name).type)
    return found


def _value(place: str, number: int, name: str, value: Any, kind: pa.DataType) -> Any:
    try:
        if pa.types.is_list(kind):
            items = value.split(LIST_SEPARATOR) if isinstance(value, str) else list(value)
            return [str(item).strip() for item in items if str(item).strip()] or None
        if pa.types.is_integer(kind):
            return int(value)
        if pa.types.is_floating(kind):
            return float(value)
        if pa.types.is_date(kind):
            return date.fromisoformat(value)
        text = value if isinstance(value, str) else json.dumps(value)
        return storage.resolve(text, place) if name.endswith("_uri") else text
    except StorageError as error:
        raise ManifestError(place, name, number, str(error)) from error
    except (TypeError, ValueError) as error:
        rule = f"{value!r} is no {kind}; correct it"
        raise ManifestError(place, name, number, rule) from error
