"""Arrow schemas made from the pydantic models, so that a column is described in one place."""

import types
from collections.abc import Iterable
from datetime import date, datetime
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import pyarrow as pa

from schemas.base import Row
from schemas.work import SCHEMA_VERSION

R = TypeVar("R", bound=Row)

_SCALARS: dict[type, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    date: pa.date32(),
    datetime: pa.timestamp("us", tz="UTC"),
}


def arrow_type(annotation: Any) -> pa.DataType:
    """Return the Arrow type of a field's annotation.

    Nested text stays plain `string`: dictionary-encoded text inside lists of structs cannot be
    read back in batches by pyarrow.

    Raises:
        TypeError: the annotation has no Arrow counterpart here.
    """
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        (inner,) = (a for a in args if a is not type(None))
        return arrow_type(inner)
    if origin is Literal:
        return pa.string()
    if origin is list:
        return pa.list_(arrow_type(args[0]))
    if origin is dict:
        return pa.map_(arrow_type(args[0]), arrow_type(args[1]))
    if isinstance(annotation, type) and issubclass(annotation, Row):
        return pa.struct(_fields(annotation))
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    raise TypeError(f"no Arrow type for {annotation!r}")


def _fields(model: type[Row]) -> list[pa.Field]:
    return [
        pa.field(
            name,
            arrow_type(info.annotation),
            metadata={"description": info.description} if info.description else None,
        )
        for name, info in model.model_fields.items()
    ]


def arrow_schema(model: type[Row]) -> pa.Schema:
    """Return the Arrow schema of a row model, descriptions as field metadata."""
    return pa.schema(
        _fields(model), metadata={"model": model.__name__, "schema_version": str(SCHEMA_VERSION)}
    )


def to_table(rows: Iterable[R], model: type[R]) -> pa.Table:
    """Return `rows` as a table with the model's schema."""
    return pa.Table.from_pylist(
        [row.model_dump(mode="python") for row in rows], schema=arrow_schema(model)
    )


def from_table(table: pa.Table | pa.RecordBatch, model: type[R]) -> list[R]:
    """Return the rows of `table` as models; columns that the model does not know are dropped.

    Raises:
        pydantic.ValidationError: a row breaks the model.
    """
    known = [name for name in table.schema.names if name in model.model_fields]
    return [
        model.model_validate(_plain(row))
        for row in table.select(known).to_pylist(maps_as_pydicts="strict")
    ]


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Leave out nulls, so that a missing value means the field's default."""
    return {name: value for name, value in row.items() if value is not None}
