"""`stylegallery schema`: the fields of manifests, parameters and tables."""

import json
import sys
from typing import Annotated, Any, Final

from cyclopts import Parameter
from pydantic import BaseModel
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.runtime.errors import UsageError, nearest
from schemas.engine import EngineSpec
from schemas.evaluation import ItemMetrics
from schemas.manifest import CatalogRow, GalleryRow
from schemas.params import StyleParams
from schemas.result import ItemResult
from schemas.run import PoolSpec, RestyleSpec, RunRecord
from schemas.work import WorkItem

MODELS: Final[dict[str, type[BaseModel]]] = {
    "catalog": CatalogRow,
    "gallery": GalleryRow,
    "params": StyleParams,
    "engine": EngineSpec,
    "pool": PoolSpec,
    "run": RestyleSpec,
    "item": WorkItem,
    "result": ItemResult,
    "figures": ItemMetrics,
    "record": RunRecord,
}

_WIDTH: Final = 120
_BOUNDS: Final = {
    "minimum": ">=",
    "exclusiveMinimum": ">",
    "maximum": "<=",
    "exclusiveMaximum": "<",
}


def schema(
    name: Annotated[str, Parameter(help=f"One of {', '.join(MODELS)}.")],
    /,
    *,
    as_json: Annotated[
        bool, Parameter(name="--json", negative=(), help="Print the JSON Schema, for programs.")
    ] = False,
) -> None:
    """Print the columns or settings of a manifest row, the parameters, a result row or run.json."""
    if name not in MODELS:
        raise UsageError(
            f"there is no schema `{name}`, only {', '.join(MODELS)}{nearest(name, MODELS)}"
        )
    if as_json:
        print(json.dumps(MODELS[name].model_json_schema(), indent=2))
    else:
        Console(width=_WIDTH if not sys.stdout.isatty() else None).print(_table(MODELS[name]))


def _table(model: type[BaseModel]) -> Table:
    """Return a row for each field: name, type, default, description."""
    table = Table("Name", "Type", "Default", "Description", box=SIMPLE, pad_edge=False)
    properties = model.model_json_schema()["properties"]
    for name, info in model.model_fields.items():
        kind = escape(_type_name(properties[name]))
        default = "required" if info.is_required() else escape(_default(info.get_default()))
        table.add_row(f"[bold]{name}[/]", kind, default, escape(info.description or ""))
    return table


def _type_name(schema: dict[str, Any]) -> str:
    """Return the type of a field in words: its choices, or the JSON types it takes."""
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " | ".join(_type_name(one) for one in schema["anyOf"] if one.get("type") != "null")
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if schema.get("type") == "array":
        return f"list of {_type_name(schema.get('items', {}))}"
    bounds = [
        f"{sign} {schema[key]:g}"
        for key, sign in _BOUNDS.items()
        if isinstance(schema.get(key), int | float)
    ]
    kind = str(schema.get("format") or schema.get("const") or schema.get("type", "any"))
    return f"{kind} {', '.join(bounds)}".strip()


def _default(value: Any) -> str:
    if isinstance(value, BaseModel):
        return "see its own table"
    return "" if value is None or value in ("", (), [], {}) else str(value)
