"""The rules of a manifest: each broken one becomes a sentence with column, row and remedy."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import pyarrow as pa
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from schemas.arrow import arrow_schema
from schemas.base import Row
from stylegallery.wording import one_line, shown
from tasks import storage
from tasks.errors import ManifestError, StorageError
from tasks.manifest_values import as_texts, unfolded_bytes, values_of

R = TypeVar("R", bound=Row)

MAX_ID_BYTES = 200
"""File systems take names of 255 bytes; a view's name also holds an item id and an ending."""
MAX_COLUMNS = 1000
MAX_URI = 4096
MAX_TERMS = 2000
"""Most characters of a licence or attribution, which every picture carries."""
MAX_BATCH_BYTES = 2**29
"""Most bytes of text in the rows that are held at a time."""
_TERMS = ("license", "attribution")


def check_count(uri: str, columns: int) -> None:
    """Refuse a table of too many columns.

    Raises:
        ManifestError: there are more than MAX_COLUMNS.
    """
    if columns > MAX_COLUMNS:
        rule = f"has {columns} columns; leave out some, a manifest has at most {MAX_COLUMNS}"
        raise ManifestError(uri, None, None, rule)


def check_columns(uri: str, found: pa.Schema, model: type[Row]) -> None:
    """Refuse a table whose columns cannot hold the model's fields.

    Raises:
        ManifestError: a required column is missing, twice there, or of the wrong type.
    """
    wanted, counts = arrow_schema(model), Counter(found.names)
    for name, count in counts.items():
        if count > 1:
            raise ManifestError(uri, one_line(name, 80), None, "is there more than once; keep one")
        if len(name) > MAX_ID_BYTES:
            rule = f"has a name of more than {MAX_ID_BYTES} characters; shorten it"
            raise ManifestError(uri, one_line(name, 80), None, rule)
    for name, info in model.model_fields.items():
        if name not in counts:
            if info.is_required():
                known = one_line(", ".join(found.names[:12]), 200) or "none"
                raise ManifestError(uri, name, None, f"is missing (columns there: {known}); add it")
        elif not _holds(wanted.field(name).type, found.field(name).type):
            have, want = one_line(str(found.field(name).type), 80), wanted.field(name).type
            raise ManifestError(uri, name, None, f"has type {have} but must be {want}; convert it")


def checked_rows(
    uri: str, batches: Iterable[pa.RecordBatch], model: type[R]
) -> Iterator[tuple[int, R, dict[str, str]]]:
    """Yield number (from 1), validated row and further columns as text, URIs made absolute.

    Raises:
        ManifestError: a row breaks the model.
    """
    number = 0
    required = {name for name, info in model.model_fields.items() if info.is_required()}
    resolve = storage.resolver(uri)
    for batch in batches:
        known, extra = _split(uri, batch, model, number)
        for values, more in zip(known, extra, strict=True):
            number += 1
            yield number, _row(uri, number, values, model, required, resolve), more


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
            text = " / ".join(map(shown, key))
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
    uri: str, batch: pa.RecordBatch, model: type[Row], before: int
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Return the model's values and the further ones as text, row by row."""
    _check_size(uri, batch, before)
    wanted = arrow_schema(model)
    known: list[dict[str, Any]] = [{} for _ in range(len(batch))]
    extra: list[dict[str, str]] = [{} for _ in range(len(batch))]
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if name in model.model_fields:
            values = values_of(uri, name, column, before, wanted.field(name).type)
            for row, value in zip(known, values, strict=True):
                row[name] = value
        else:
            for texts, text in zip(extra, as_texts(uri, name, column, before), strict=True):
                if text is not None:
                    texts[name] = text
    return known, extra


def _check_size(uri: str, batch: pa.RecordBatch, before: int) -> None:
    """Refuse rows that would not fit into the memory once each has its own texts."""
    sizes = dict(zip(batch.schema.names, map(unfolded_bytes, batch.columns), strict=True))
    if sum(sizes.values()) > MAX_BATCH_BYTES:
        largest = one_line(max(sizes, key=sizes.__getitem__), 80)
        rule = f"holds too much in the rows from {before + 1} on, more than "
        rule += f"{MAX_BATCH_BYTES // len(batch)} bytes in each; shorten it, or leave it out"
        raise ManifestError(uri, largest, None, rule)


def _row(
    uri: str,
    number: int,
    values: dict[str, Any],
    model: type[R],
    required: set[str],
    resolve: Callable[[str], str],
) -> R:
    given = {}
    for name, value in values.items():
        if value is None and name in required:
            raise ManifestError(uri, name, number, "is empty (null); give it a value")
        # An empty text in an optional column is how CSV and spreadsheets write "nothing".
        if value is None or (value == "" and name not in required):
            continue
        given[name] = _checked(uri, number, name, value, resolve)
    try:
        return model.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ManifestError(uri, str(first["loc"][0]), number, _sentence(first)) from error


def _checked(uri: str, number: int, name: str, value: Any, resolve: Callable[[str], str]) -> Any:
    """Return a value as its row takes it; what pydantic cannot tell is checked here."""
    if name.endswith("_uri") and value:
        if len(value) > MAX_URI:
            rule = f"is longer than {MAX_URI} characters, so it is no path; correct it"
            raise ManifestError(uri, name, number, rule)
        try:
            return resolve(value)
        except StorageError as error:
            raise ManifestError(uri, name, number, one_line(str(error), 800)) from error
    if (name.endswith("_id") or name == "view") and len(value.encode()) > MAX_ID_BYTES:
        rule = f"is longer than {MAX_ID_BYTES} bytes, too long for a file name; shorten it"
        raise ManifestError(uri, name, number, rule)
    if name in _TERMS:
        value = one_line(value, MAX_TERMS + 1)
        if len(value) > MAX_TERMS:
            rule = f"is longer than {MAX_TERMS} characters; shorten it, pictures carry it"
            raise ManifestError(uri, name, number, rule)
    return value


def _sentence(error: ErrorDetails) -> str:
    value = shown(error["input"])
    match error["type"]:
        case "string_too_short":
            return "is empty; give it a value"
        case "string_pattern_mismatch":
            return (
                f"{value} becomes a folder or file name, so it may hold no slash, backslash or "
                "control character and not only dots; rename it"
            )
        case "string_type":
            return "holds an empty value (null) in its list; remove it"
        case _:
            return f"{value} is refused: {one_line(error['msg'], 120).lower()}; correct it"
