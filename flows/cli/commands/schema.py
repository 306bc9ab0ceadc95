"""`stylegallery schema`: print the fields of manifests, settings and tables."""

import json
import sys
from typing import Annotated, Final

from cyclopts import Parameter
from pydantic import BaseModel
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.runtime.errors import UsageError, did_you_mean
from schemas.document import MODELS, field_groups

_WIDTH: Final = 120


def schema(
    name: Annotated[str, Parameter(help=f"One of {', '.join(MODELS)}.")],
    /,
    *,
    as_json: Annotated[
        bool, Parameter(name="--json", negative=(), help="Print the JSON Schema.")
    ] = False,
) -> None:
    """Print the fields of a manifest, of the settings, of a result table or of run.json."""
    if name not in MODELS:
        known = ", ".join(MODELS)
        raise UsageError(f"no schema `{name}`, only {known}{did_you_mean(name, MODELS)}")
    if as_json:
        print(json.dumps(MODELS[name].model_json_schema(), indent=2))
    else:
        Console(width=_WIDTH if not sys.stdout.isatty() else None).print(_table(MODELS[name]))


def _table(model: type[BaseModel]) -> Table:
    """Return a table of name, type, default and description of each field."""
    table = Table("Name", "Type", "Default", "Description", box=SIMPLE, pad_edge=False)
    for group in field_groups(model):
        if group.name:
            table.add_section()
            table.add_row(
                f"[italic]{escape(group.name)}[/]",
                "group",
                "",
                escape(f"{group.title}: {group.description}"),
            )
        for row in group.rows:
            name, *rest = map(escape, row)
            table.add_row(f"[bold]{name}[/]", *rest)
    return table
