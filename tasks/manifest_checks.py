"""The rules of a manifest: each broken one becomes a sentence with column, row and remedy."""

import json
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from typing import Any, TypeVar

import pyarrow as pa
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from schemas.arrow import arrow_schema
from schemas.base import Row
from tasks import storage
from tasks.errors import ManifestError, StorageError

R = TypeVar("R", bound=Row)

MAX_ID_BYTES = 200
"""File systems take names of 255 bytes; a view's name also holds an item id and an ending."""


def check_columns(uri: str, found: pa.Schema, model: type[Row]) -> None:
    """Refuse a table whose columns cannot hold the model's fields.

    Raises:
        ManifestError: a required column is missing, twice there, or of the wrong type.
    """
    wanted = arrow_schema(model)
    for name, info in model.model_fields.items():
        count = found.names.count(name)
        if count > 1:
            raise ManifestError(uri, name, None, "is there more than once; keep one")
        if count == 0 and info.is_required():
            known = ", ".join(found.names[:12]) or "none"
            raise ManifestError(uri, name, None, f"is missing (columns there: {known}); add it")
        if count and not _holds(wanted.field(name).type, found.field(name).type):
            have, want = found.field(name).type, wanted.field(name).type
            raise ManifestError(uri, name, None, f"has type {have} but must be {want}; convert it")


def checked_rows(
    uri: str, batches: Iterable[pa.RecordBatch], model: type[R]
) -> Iterator[tuple[int, R, dict[str, str]]]:
    """Yield number (from 1), validated row and further columns as text, URIs made absolute.

    Raises:
        ManifestError: a row breaks the model.
    """
    number = 0
    for batch in batches:
        known, extra = _split(uri, batch, model)
        for values, more in zip(known, extra, strict=True):
            number += 1
            yield number, _row(uri, number, values, model), _texts(more)


class Unique:
    """Refuses the second row with the same key."""

    def __init__(self, uri: str, column: str) -> None:
        self._uri, self._column = uri, column
        self._seen: dict[tuple[str, ...], int] = {}

    def check(self, number: int, *key: str) -> None:
        """Note the key of row `number`.

        Raises:
            ManifestError: an earlier row has the same key.
        """
        first = self._seen.setdefault(key, number)
        if first != number:
            text = " / ".join(repr(name) for name in key)
            rule = f"{text} is already in row {first}; make it unique or remove one of the rows"
            raise ManifestError(self._uri, self._column, number, rule)


def _holds(want: pa.DataType, have: pa.DataType) -> bool:
    kinds = pa.types
    if kinds.is_null(have):
        return True
    if kinds.is_string(want):
        if kinds.is_dictionary(have):
            have = have.value_type
        return bool(kinds.is_string(have) or kinds.is_large_string(have))
    if kinds.is_list(want):
        nested = kinds.is_list(have) or kinds.is_large_list(have)
        return bool(nested and _holds(want.value_type, have.value_type))
    if kinds.is_integer(want):
        return bool(kinds.is_integer(have))
    if kinds.is_floating(want):
        return bool(kinds.is_integer(have) or kinds.is_floating(have) or kinds.is_decimal(have))
    return bool(kinds.is_date(have))


def _split(
    uri: str, batch: pa.RecordBatch, model: type[Row]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    wanted = arrow_schema(model)
    names = [name for name in batch.schema.names if name in model.model_fields]
    columns = []
    for name in names:
        try:
            columns.append(batch.column(name).cast(wanted.field(name).type))
        except pa.ArrowInvalid as error:
            rule = f"has values that do not fit {wanted.field(name).type} ({error})"
            raise ManifestError(uri, name, None, rule) from error
    known = pa.RecordBatch.from_arrays(columns, names=names).to_pylist()
    others = [name for name in batch.schema.names if name not in model.model_fields]
    extra = batch.select(others).to_pylist(maps_as_pydicts="lossy") if others else [{}] * len(known)
    return known, extra


def _row(uri: str, number: int, values: dict[str, Any], model: type[R]) -> R:
    given = {}
    for name, value in values.items():
        info = model.model_fields[name]
        if info.is_required() and value is None:
            raise ManifestError(uri, name, number, "is empty (null); give it a value")
        # An empty text in an optional column is how CSV and spreadsheets write "nothing".
        if value is None or (value == "" and not info.is_required()):
            continue
        if name.endswith("_uri"):
            try:
                value = storage.resolve(value, uri) if value else value
            except StorageError as error:
                raise ManifestError(uri, name, number, str(error)) from error
        if (name.endswith("_id") or name == "view") and len(value.encode()) > MAX_ID_BYTES:
            rule = f"is longer than {MAX_ID_BYTES} bytes, too long for a file name; shorten it"
            raise ManifestError(uri, name, number, rule)
        given[name] = value
    try:
        return model.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ManifestError(uri, str(first["loc"][0]), number, _sentence(first)) from error


def _sentence(error: ErrorDetails) -> str:
    value = repr(error["input"])
    value = value if len(value) <= 80 else value[:77] + "..."
    match error["type"]:
        case "string_too_short":
            return "is empty; give it a value"
        case "string_pattern_mismatch":
            return (
                f"{value} becomes a folder or file name, so it may hold no slash, backslash or "
                "control character and not only dots; rename it"
            )
        case _:
            return f"{value} is refused: {error['msg'].lower()}"


def _texts(values: dict[str, Any]) -> dict[str, str]:
    return {name: _text(value) for name, value in values.items() if value is not None}


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bool | int | float | list | dict):
        return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    return str(value)
