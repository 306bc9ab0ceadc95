"""Convert the cells of a manifest to Python values, from all Arrow types and spellings.

An invalid cell becomes an :class:`Unusable`, and its row is rejected with that rule; the other
cells of the column are converted.
"""

import base64
import json
import math
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas.text import short_repr

LIST_SEPARATOR = ";"
"""Separates the galleries in a text cell."""
MAX_TEXT = 100_000
"""Largest cell in bytes: results contain the extra columns, in each row."""
_TOO_LONG = f"has a value of more than {MAX_TEXT} bytes; shorten it, or leave the column out"
_INT64 = range(-(2**63), 2**63)
_EXACT = 2**53
"""Integers below this are exact as floats."""


@dataclass(frozen=True)
class Unusable:
    """A cell that breaks a rule.

    Attributes:
        rule: What is wrong and what to do.
        text: The value for messages.
    """

    rule: str
    text: str = ""


def can_hold(kind: pa.DataType, found: pa.DataType) -> bool:
    """Tell whether cells of the Arrow type `found` may be converted to the type `kind`."""
    found, types = _stored(found), pa.types
    if types.is_null(found) or is_text_type(found):
        return True
    if types.is_list(kind):
        return can_hold(kind.value_type, found.value_type if _is_list(found) else found)
    if types.is_date(kind):
        return bool(types.is_date(found) or types.is_timestamp(found))
    return bool(types.is_integer(found) or types.is_floating(found) or types.is_decimal(found))


def is_text_type(kind: pa.DataType) -> bool:
    """Tell whether an Arrow type is text, or bytes that may be text."""
    types = pa.types
    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_string_view(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_binary_view(kind)
        or types.is_fixed_size_binary(kind)
    )


def column_values(column: pa.Array, kind: pa.DataType) -> list[Any]:
    """Return the cells of a column as values of the type `kind`, None for null."""
    column, too_long = _without_long(column)
    if pa.types.is_string(kind) and too_long is not None:
        values = _texts(column)
    else:
        values = [_usable(value, kind) for value in _plain_list(column)]
    return _mark_too_long(values, too_long)


def column_texts(column: pa.Array) -> list[Any]:
    """Return the cells of an extra column as text, None for null."""
    column, too_long = _without_long(column)
    texts: list[Any] = []
    for value in _plain_list(column):
        text = None if value is None else _to_text(value)
        texts.append(Unusable(_TOO_LONG) if text is not None and _is_long(text) else text)
    return _mark_too_long(texts, too_long)


def row_bytes(column: pa.Array) -> NDArray[np.int64]:
    """Return the approximate size (N,) of each cell as a Python value, in bytes."""
    if _holds_text(column):
        lengths = text_lengths(column)
        return np.where(lengths > MAX_TEXT, 0, lengths)
    each = max(1, column.nbytes // max(len(column), 1))
    if _is_list(column.type) and pa.types.is_dictionary(column.type.value_type):
        dictionary = column.flatten().dictionary
        counts = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
        each = dictionary.nbytes // max(len(dictionary), 1) + 8
        return np.asarray(counts * each, np.int64)
    return np.full(len(column), each, np.int64)


def convert(value: Any, kind: pa.DataType) -> Any:
    """Convert a value to the type `kind`; return None for a blank value.

    Raises:
        ValueError: the value is invalid; the message is the rule that it breaks.
    """
    if value is None or (isinstance(value, float) and math.isnan(value) and _wants_whole(kind)):
        return None
    types = pa.types
    if types.is_list(kind):
        return _names(value)
    if types.is_integer(kind):
        return _whole(value)
    if types.is_floating(kind):
        return _number(value)
    if types.is_date(kind):
        return _day(value)
    return _text(value)


def _wants_whole(kind: pa.DataType) -> bool:
    """Tell whether NaN means null: pandas stores integers with gaps as floats."""
    return not pa.types.is_floating(kind)


def _usable(value: Any, kind: pa.DataType) -> Any:
    try:
        found = convert(value, kind)
    except ValueError as error:
        return Unusable(str(error), short_repr(value))
    texts = found if isinstance(found, list) else [found]
    if any(isinstance(text, str) and _is_long(text) for text in texts):
        return Unusable(_TOO_LONG)
    return found


def _names(value: Any) -> list[str | None] | None:
    if isinstance(value, list | tuple):
        return [None if item is None else _text(item) for item in value]
    text = _text(value).strip()
    if text.startswith("[") and text.endswith("]"):
        try:  # databases export lists as JSON text
            return _names(json.loads(text))
        except (ValueError, RecursionError):
            pass  # an id may look like this
    names = [name.strip() for name in text.split(LIST_SEPARATOR)]
    return [name for name in names if name] or None


def _whole(value: Any) -> int | None:
    try:
        if isinstance(value, str | bytes):
            return _whole_of_text(_text(value).strip())
        number = int(value)
        if isinstance(value, bool) or number != value or number not in _INT64:
            raise ValueError
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{short_repr(value)} is not a 64-bit integer; correct it") from error
    return number


def _whole_of_text(text: str) -> int | None:
    if not text:
        return None
    if "_" in text:  # Python accepts 1_000
        raise ValueError
    if text.lstrip("+-").isdigit():
        number = int(text)
    else:  # spreadsheets write 5.0
        number = int(float(text))
        if number != float(text) or abs(number) >= _EXACT:
            raise ValueError
    if number not in _INT64:
        raise ValueError
    return number


def _number(value: Any) -> float | None:
    try:
        if isinstance(value, str | bytes):
            text = _text(value).strip()
            if "_" in text:
                raise ValueError
            return float(text) if text else None
        if isinstance(value, bool):
            raise ValueError
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{short_repr(value)} is not a number; correct it") from error


def _day(value: Any) -> date | None:
    try:
        if isinstance(value, datetime):
            return value.date()
        if isinstance(value, date):
            return value
        text = _text(value).strip()
        return datetime.fromisoformat(text).date() if text else None
    except ValueError as error:
        rule = f"{short_repr(value)} is not a date; write it as 2030-01-31"
        raise ValueError(rule) from error


def _text(value: Any) -> str:
    """Return an id or a path as text; 12.0 becomes 12."""
    match value:
        case str():
            return value
        case bytes():
            try:
                return value.decode()
            except UnicodeDecodeError as error:
                raise ValueError("contains bytes that are not UTF-8; correct it") from error
        case bool():
            pass
        case int():
            return str(value)
        case float() | Decimal() if math.isfinite(value):
            exact = value == int(value) and (isinstance(value, Decimal) or abs(value) < _EXACT)
            return str(int(value)) if exact else str(value)
        case UUID():
            return str(value)
    raise ValueError(f"{short_repr(value)} is not text; correct it")


def _to_text(value: Any) -> str:
    match value:
        case str():
            return value
        case bytes():
            try:
                return value.decode()
            except UnicodeDecodeError:
                return base64.b64encode(value).decode()
        case date():  # datetimes are dates too
            return value.isoformat()
        case bool() | int() | float() | list() | dict():
            return json.dumps(value, ensure_ascii=False, sort_keys=True, default=_to_text)
        case _:
            return str(value)


def _texts(column: pa.Array) -> list[Any]:
    """Return the cells of a text column."""
    try:
        found: list[Any] = column.cast(pa.string()).to_pylist()
        return found
    except pa.ArrowException:  # bytes that are not UTF-8
        return [_usable(value, pa.string()) for value in column.to_pylist()]


def _plain_list(column: pa.Array) -> list[Any]:
    try:
        found: list[Any] = column.to_pylist(maps_as_pydicts="lossy")
        return found
    except Exception:  # nanoseconds, years past 9999, unknown time zones, keys that are lists
        return [_plain(value) for value in column]


def _plain(cell: Any) -> Any:
    """Return a cell as a Python value, or as text if Python cannot represent it."""
    try:
        return cell.as_py(maps_as_pydicts="lossy")
    except Exception:
        if isinstance(cell, pa.DictionaryScalar | pa.ExtensionScalar):
            return _plain(cell.value)
        if isinstance(cell, pa.StructScalar):
            return {name: _plain(value) for name, value in cell.items()}
        if isinstance(cell, pa.ListScalar):  # all list types; maps are lists of pairs
            return [_plain(value) for value in cell.values]
        return _arrow_text(cell)


def _arrow_text(cell: pa.Scalar) -> str:
    kind = cell.type
    if pa.types.is_duration(kind):
        return f"{cell.value} {kind.unit}"
    zone = ""
    if pa.types.is_timestamp(kind) and kind.tz:
        try:
            return str(cell.cast(pa.string()).as_py()).replace(" ", "T", 1)
        except pa.ArrowException:  # unknown time zone: the stored value is UTC
            cell, zone = cell.cast(pa.timestamp(kind.unit)), "Z"
            if isinstance(value := _plain(cell), datetime):
                return f"{value.isoformat()}Z"
    text = str(cell.cast(pa.string()).as_py())
    if text.startswith("<"):  # Arrow's text for a date out of range
        return f"{cell.value} {getattr(kind, 'unit', 'days')} since 1970"
    return text.replace(" ", "T", 1) + zone if pa.types.is_timestamp(kind) else text


def _without_long(column: pa.Array) -> tuple[pa.Array, NDArray[np.bool_] | None]:
    """Replace the cells of a text column that are too long by null; return also a mask of them.

    A long text that is stored once is thus not copied into every row. Other columns are returned
    unchanged, without a mask.
    """
    if not _holds_text(column):
        return column, None
    column = _without_views(column)
    long = text_lengths(column) > MAX_TEXT
    if long.any():
        column = column.take(pa.array(np.arange(len(column)), mask=long))
    return column, long


def _without_views(column: pa.Array) -> pa.Array:
    """Convert string views to the layout that Arrow's compute functions support."""
    if pa.types.is_string_view(column.type):
        return column.cast(pa.large_string())
    return column.cast(pa.large_binary()) if pa.types.is_binary_view(column.type) else column


def text_lengths(column: pa.Array) -> NDArray[np.int64]:
    """Return the length (N,) of each text of a column in bytes, 0 for null."""
    if pa.types.is_dictionary(column.type):
        each = np.append(text_lengths(column.dictionary), 0)
        places = column.indices.cast(pa.int64()).fill_null(len(each) - 1)
        return np.asarray(each[places.to_numpy(zero_copy_only=False)], np.int64)
    found = pc.fill_null(pc.binary_length(_without_views(column)), 0)
    return np.asarray(found.to_numpy(zero_copy_only=False), np.int64)


def _holds_text(column: pa.Array) -> bool:
    kind = column.type
    return is_text_type(kind.value_type if pa.types.is_dictionary(kind) else kind)


def _mark_too_long(values: list[Any], too_long: NDArray[np.bool_] | None) -> list[Any]:
    if too_long is not None:
        for place in np.flatnonzero(too_long):
            values[place] = Unusable(_TOO_LONG)
    return values


def _stored(kind: pa.DataType) -> pa.DataType:
    """Return the value type of a dictionary type, or the storage type of an extension type."""
    if pa.types.is_dictionary(kind):
        return _stored(kind.value_type)
    return _stored(kind.storage_type) if isinstance(kind, pa.BaseExtensionType) else kind


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_list(kind)
        or types.is_large_list(kind)
        or types.is_fixed_size_list(kind)
        or types.is_list_view(kind)
        or types.is_large_list_view(kind)
    )


def _is_long(text: str) -> bool:
    return len(text) * 4 > MAX_TEXT and len(text.encode(errors="replace")) > MAX_TEXT
