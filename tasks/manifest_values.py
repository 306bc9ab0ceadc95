"""The columns of a manifest as Python values: each that cannot be read is named with its row."""

import json
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from stylegallery.wording import one_line
from tasks.errors import ManifestError

MAX_TEXT = 100_000
"""Most bytes of one cell: results carry the further columns, in every row of every gallery."""


def values_of(uri: str, name: str, column: pa.Array, before: int, kind: pa.DataType) -> list[Any]:
    """Return the values of a column as those of an Arrow type.

    Args:
        uri: The manifest.
        name: The column's name.
        column: Some of its rows.
        before: How many rows stand before these.
        kind: What they are to be.

    Raises:
        ManifestError: one does not fit, or is too long.
    """
    _check_lengths(uri, name, column, before)
    try:
        return _listed(uri, name, column.cast(kind), before)
    except pa.ArrowException as error:
        rule = f"has values that do not fit {kind} ({one_line(str(error), 120)}); correct them"
        raise ManifestError(uri, name, None, rule) from error


def as_texts(uri: str, name: str, column: pa.Array, before: int) -> list[str | None]:
    """Return the values of a column as text, None for null; arguments as :func:`values_of`.

    Raises:
        ManifestError: one is nothing that can be written down, or too long.
    """
    shown = one_line(name, 80)
    _check_lengths(uri, shown, column, before)
    texts = []
    for number, value in enumerate(_listed(uri, shown, column, before), before + 1):
        try:
            text = None if value is None else _text(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise ManifestError(uri, shown, number, _UNREADABLE) from error
        if text is not None and len(text) > MAX_TEXT:
            raise ManifestError(uri, shown, number, _TOO_LONG)
        texts.append(text)
    return texts


_UNREADABLE = "has a value that cannot be read; convert the column to text, or leave it out"
_TOO_LONG = f"has a value of more than {MAX_TEXT} bytes; shorten it, or leave the column out"


def unfolded_bytes(column: pa.Array) -> int:
    """Return how many bytes a column's texts take when each row has its own."""
    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    texts = column.dictionary
    if not _is_text(texts.type):
        return int(column.nbytes)
    return int(pc.sum(pc.binary_length(texts).take(column.indices)).as_py() or 0)


def _check_lengths(uri: str, name: str, column: pa.Array, before: int) -> None:
    """Refuse long texts while each stands in memory once, as it does in the file."""
    kinds, texts = pa.types, column
    if kinds.is_dictionary(column.type):
        texts = column.dictionary
    elif kinds.is_list(column.type) or kinds.is_large_list(column.type):
        texts = column.flatten()
    if not _is_text(texts.type) or (pc.max(pc.binary_length(texts)).as_py() or 0) <= MAX_TEXT:
        return
    for number, value in enumerate(column, before + 1):
        if _is_long(value.as_py()):
            raise ManifestError(uri, name, number, _TOO_LONG)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_long(value: Any) -> bool:
    texts = value if isinstance(value, list) else [value]
    return any(isinstance(text, str) and len(text.encode()) > MAX_TEXT for text in texts)


def _listed(uri: str, name: str, column: pa.Array, before: int) -> list[Any]:
    try:
        values: list[Any] = column.to_pylist(maps_as_pydicts="lossy")
    except Exception as error:  # years past 9999, keys of maps that are lists, and the like
        for number, value in enumerate(column, before + 1):
            try:
                value.as_py(maps_as_pydicts="lossy")
            except Exception:
                raise ManifestError(uri, name, number, _UNREADABLE) from error
        raise ManifestError(uri, name, None, _UNREADABLE) from error
    return values


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bool | int | float | list | dict):
        return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    return str(value)
