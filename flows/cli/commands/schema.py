"""`stylegallery schema`: the fields of manifests, parameters and tables."""

import json
import sys
from typing import Annotated, Final

from cyclopts import Parameter
from pydantic import BaseModel
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.runtime.errors import UsageError, nearest
from schemas.document import MODELS, field_rows

_WIDTH: Final = 120


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
    for row in field_rows(model):
        name, *rest = map(escape, row)
        table.add_row(f"[bold]{name}[/]", *rest)
    return table
