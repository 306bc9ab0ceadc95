"""The rules of manifests. An error names column, row and remedy."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import pyarrow as pa
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from schemas.arrow import arrow_schema
from schemas.base import Row
from schemas.text import one_line, short_repr
from schemas.work import path_segment
from tasks import storage
from tasks.errors import ManifestError, StorageError
from tasks.manifests.rows import Rows
from tasks.manifests.values import Unusable, can_hold, column_texts, column_values, row_bytes

R = TypeVar("R", bound=Row)

MAX_ID_BYTES = 200
"""File names have at most 255 bytes; an asset's name also has an item id and a suffix."""
MAX_COLUMNS = 1000
MAX_URI = 4096
MAX_TERMS = 2000
"""Largest number of characters of a license or attribution, which assets contain."""
MAX_ROW_TEXT = 2**18
"""Largest number of characters in the extra columns of a row, which its results contain."""
_PIECE_BYTES = 2**24
"""Largest number of bytes of rows that are converted to Python values at a time."""
_SWAPPED = {
    "product_id": "gallery_id",
    "gallery_id": "product_id",
    "style_id": "product_id",
}
"""A column of one manifest, and one that only the other has; tells if both are swapped."""
_LICENSE_FIELDS = ("license", "attribution")


@dataclass(frozen=True)
class CheckedRow(Generic[R]):
    """A checked row of a manifest.

    Attributes:
        uri: URI of its file.
        number: Number of the row in that file, from 1.
        values: The cells of the model's columns, before validation.
        extra: The extra columns as text.
        row: The validated row with absolute URIs; None for an invalid row.
        problem: The first rule that an invalid row breaks; None for a valid row.
    """

    uri: str
    number: int
    values: dict[str, Any]
    extra: dict[str, str]
    row: R | None
    problem: ManifestError | None


def check_count(uri: str, columns: int) -> None:
    """Check the number of columns.

    Raises:
        ManifestError: there are more than MAX_COLUMNS.
    """
    if columns > MAX_COLUMNS:
        rule = f"has {columns} columns; leave out some, a manifest has at most {MAX_COLUMNS}"
        raise ManifestError(uri, None, None, rule)


def field_names(names: Sequence[str], model: type[Row]) -> list[str]:
    """Return column names in which other spellings of the model's fields are replaced.

    Spreadsheets and databases write ` image_uri`, `Image URI` or `IMAGE_URI`. If a column has the
    exact name of a field, other spellings of it are not replaced.
    """
    return [
        name if name in model.model_fields or (field := _field(name, model)) in names else field
        for name in names
    ]


def _field(name: str, model: type[Row]) -> str:
    plain = re.sub(r"[\s-]+", "_", name.strip()).casefold()
    return plain if plain in model.model_fields else name


def check_columns(uri: str, found: pa.Schema, model: type[Row]) -> None:
    """Check that a table's columns fit the model's fields.

    Raises:
        ManifestError: a required column is missing, or a column is duplicate or of a wrong type.
    """
    wanted, counts = arrow_schema(model), Counter(found.names)
    for name, count in counts.items():
        if count > 1:
            raise ManifestError(uri, one_line(name, 80), None, "exists more than once; keep one")
        if len(name) > MAX_ID_BYTES:
            rule = f"has a name of more than {MAX_ID_BYTES} characters; shorten it"
            raise ManifestError(uri, one_line(name, 80), None, rule)
    for name, info in model.model_fields.items():
        if name not in counts:
            if info.is_required():
                if (other := _SWAPPED.get(name)) in counts:
                    rule = f"is missing, but {other} exists: are --catalog and "
                    raise ManifestError(uri, name, None, f"{rule}--galleries swapped?")
                known = one_line(", ".join(found.names[:12]), 200) or "none"
                raise ManifestError(
                    uri, name, None, f"is missing (existing columns: {known}); add it"
                )
        elif not can_hold(wanted.field(name).type, found.field(name).type):
            have, want = one_line(str(found.field(name).type), 80), wanted.field(name).type
            raise ManifestError(uri, name, None, f"has type {have} but must be {want}; convert it")


def checked_rows(uri: str, source: Iterable[Rows], model: type[R]) -> Iterator[CheckedRow[R]]:
    """Check the rows of a manifest one by one. Blank rows are skipped.

    Args:
        uri: URI of the manifest, for relative URIs.
        source: Its rows, from one or several files.
        model: Model of a row.
    """
    required = {name for name, info in model.model_fields.items() if info.is_required()}
    resolve = storage.resolver(uri)
    for rows in source:
        for piece in _pieces(rows):
            known, extra = _split(piece.batch, model)
            for number, values, more in zip(piece.numbers, known, extra, strict=True):
                if _is_blank(values) and _is_blank(more):
                    continue
                try:
                    _check_extra(piece.uri, number, more)
                    row = _row(piece.uri, number, values, model, required, resolve)
                    yield CheckedRow(piece.uri, number, values, more, row, None)
                except ManifestError as problem:
                    usable = {n: text for n, text in more.items() if isinstance(text, str)}
                    yield CheckedRow(piece.uri, number, values, usable, None, problem)


class UniqueKeys:
    """Finds rows with the same key as an earlier row."""

    def __init__(self, column: str) -> None:
        self._column = column
        self._seen: dict[tuple[str, ...], tuple[str, int]] = {}

    def problem(self, uri: str, number: int, *key: str) -> ManifestError | None:
        """Add the key of a row; return an error if an earlier row has it, else None."""
        if key not in self._seen:
            self._seen[key] = uri, number
            return None
        place, first = self._seen[key]
        where = f"row {first}" if place == uri else f"row {first} of {place}"
        text = " / ".join(map(short_repr, key))
        rule = f"{text} is already in {where}; make it unique or remove one of the rows"
        return ManifestError(uri, self._column, number, rule)


def _pieces(rows: Rows) -> Iterator[Rows]:
    """Split rows so that their Python values fit into memory; shared texts are copied per row."""
    batch = rows.batch
    sizes = sum(map(row_bytes, batch.columns), np.zeros(len(batch), np.int64))
    ends = np.cumsum(sizes)
    begin = 0
    while begin < len(batch):
        before = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + _PIECE_BYTES, "right")))
        yield Rows(rows.uri, rows.numbers[begin:end], batch.slice(begin, end - begin))
        begin = end


def _split(
    batch: pa.RecordBatch, model: type[Row]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return for each row the values of the model's columns, and the extra columns as text."""
    wanted = arrow_schema(model)
    known: list[dict[str, Any]] = [{} for _ in range(len(batch))]
    extra: list[dict[str, Any]] = [{} for _ in range(len(batch))]
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if name in model.model_fields:
            values = column_values(column, wanted.field(name).type)
            for row, value in zip(known, values, strict=True):
                row[name] = value
        else:
            for texts, text in zip(extra, column_texts(column), strict=True):
                if text is not None:
                    texts[name] = text
    return known, extra


def _is_blank(values: dict[str, Any]) -> bool:
    return all(value is None or (isinstance(value, str) and not value) for value in values.values())


def _check_extra(uri: str, number: int, extra: dict[str, Any]) -> None:
    for name, text in extra.items():
        if isinstance(text, Unusable):
            raise ManifestError(uri, one_line(name, 80), number, text.rule)
    if sum(map(len, extra.values())) > MAX_ROW_TEXT:
        largest = one_line(max(extra, key=lambda name: len(extra[name])), 80)
        rule = f"and the other extra columns have more than {MAX_ROW_TEXT} characters; shorten "
        raise ManifestError(uri, largest, number, f"{rule}them, or leave some out")


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
        if isinstance(value, Unusable):
            raise ManifestError(uri, name, number, value.rule)
        if value is None and name in required:
            raise ManifestError(uri, name, number, "is empty (null); give it a value")
        # In CSV files and spreadsheets, empty text in an optional column means null.
        if value is None or (value == "" and name not in required):
            continue
        given[name] = _checked(uri, number, name, value, resolve)
    try:
        return model.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ManifestError(uri, str(first["loc"][0]), number, _sentence(first)) from error


def _checked(uri: str, number: int, name: str, value: Any, resolve: Callable[[str], str]) -> Any:
    """Check the rules that the model does not cover, and return the value to validate."""
    if name.endswith("_uri") and value:
        if len(value) > MAX_URI:
            rule = f"is longer than {MAX_URI} characters, which no path is; correct it"
            raise ManifestError(uri, name, number, rule)
        try:
            return resolve(value)
        except StorageError as error:
            raise ManifestError(uri, name, number, one_line(str(error), 800)) from error
    is_id = name.endswith("_id") or name == "view"
    if is_id and len(path_segment(value).encode()) > MAX_ID_BYTES:
        rule = f"is longer than {MAX_ID_BYTES} bytes, too long for a file name; shorten it"
        raise ManifestError(uri, name, number, rule)
    if name in _LICENSE_FIELDS:
        value = one_line(value, MAX_TERMS + 1)
        if len(value) > MAX_TERMS:
            rule = f"is longer than {MAX_TERMS} characters; shorten it, as assets contain it"
            raise ManifestError(uri, name, number, rule)
    return value


def _sentence(error: ErrorDetails) -> str:
    value = short_repr(error["input"])
    match error["type"]:
        case "string_too_short":
            return "is empty; give it a value"
        case "string_pattern_mismatch":
            return (
                f"{value} becomes a folder or file name, so it must not contain control characters "
                "or only dots; rename it"
            )
        case "literal_error":
            return f"{value} does not exist; use {error['ctx']['expected']}"
        case "string_type":
            return "has an empty value (null) in its list; remove it"
        case _:
            return f"{value} is invalid: {one_line(error['msg'], 120).lower()}; correct it"
