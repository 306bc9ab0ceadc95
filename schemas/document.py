"""The schemas as documentation: `python -m schemas.document > schemas/README.md`."""

import sys
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from pydantic import BaseModel

from schemas.engine import EngineSpec
from schemas.evaluation import ItemMetrics
from schemas.manifest import CatalogRow, GalleryRow
from schemas.methods import METHODS
from schemas.param_groups import ParamGroup
from schemas.params import StyleParams
from schemas.presets import PRESETS
from schemas.result import ItemResult, MatchRow
from schemas.run import PoolSpec, RestyleSpec, RunRecord
from schemas.students import StudentRow
from schemas.work import WorkItem

MODELS: Final[dict[str, type[BaseModel]]] = {
    "catalog": CatalogRow,
    "gallery": GalleryRow,
    "run": RestyleSpec,
    "params": StyleParams,
    "engine": EngineSpec,
    "pool": PoolSpec,
    "item": WorkItem,
    "result": ItemResult,
    "match": MatchRow,
    "figures": ItemMetrics,
    "student": StudentRow,
    "record": RunRecord,
}
"""Every documented schema, by the name that `stylegallery schema` takes."""

_BOUNDS: Final = {
    "minimum": ">=",
    "exclusiveMinimum": ">",
    "maximum": "<=",
    "exclusiveMaximum": "<",
}
_HEAD = """# Manifests, settings and tables

<!-- Made by `python -m schemas.document > schemas/README.md`; a test compares. -->

`stylegallery schema NAME` prints each of these tables, and `--json` its JSON Schema.

## Manifests

A manifest is a Parquet file, a folder of Parquet parts, a CSV or JSON file, or a folder of images.
`stylegallery manifest` makes a Parquet manifest from any of them and counts what it leaves out.

- A relative path in a manifest starts at the manifest's folder. A row with an absolute path or a
  `file://` URI names a file of the machines that run the job; the operator limits these by
  `STYLEGALLERY_ALLOWED_ROOTS=/photos:/out`.
- Every path may be `s3://BUCKET/KEY`; keys are taken literally, with `//`, `..`, `%`, `#`, `?`.
  `AWS_ENDPOINT_URL` names another S3 server than AWS. Other fsspec schemes (`gs://`, `az://`, ...)
  are refused until the operator sets `STYLEGALLERY_ALLOWED_SCHEMES=gs,az`; `http` is never allowed.
- A row that cannot be used becomes a rejected item, named with column, row and rule; the rest of
  the run goes on. `--strict` refuses the whole manifest instead.
- `method` and `preset` of a gallery let a painter's gallery and an embroidery's gallery be made by
  different methods in one run. The gallery's parameters are what a run of that method with the same
  settings has; its preset replaces the run's.
- `mask_uri` fixes regions, `protect_uri` keeps pixels (logos, labels, faces) exactly, `routing_uri`
  pins content regions to reference regions.

## Settings

Flags beat `STYLEGALLERY_*` variables, which beat the TOML file of `--config`, which beats the
preset. A setting has one name everywhere: `chunk_size` is `--chunk-size`,
`STYLEGALLERY_CHUNK_SIZE`, and `chunk_size` below `[pool]` in the file. Style parameters are set by
`--set steps=40`. Lists repeat the flag, or separate values by commas in a variable.

Style parameters that serve one part are in groups. Their names are unique, so none needs its
group: `--set match_tone=false`, `match_tone = false` below `[params]` and
`StyleParams(match_tone=False)` set `tones.match_tone`. The form and run.json show them in groups.

Presets change these parameters:

{presets}

Methods with published settings bring them as defaults:

{methods}
"""


class FieldRow(NamedTuple):
    """One field of a schema, in words."""

    name: str
    type: str
    default: str
    description: str


class FieldGroup(NamedTuple):
    """Fields of a schema that belong together; the name and title are "" for those in no group."""

    name: str
    title: str
    description: str
    rows: list[FieldRow]


def field_groups(model: type[BaseModel]) -> list[FieldGroup]:
    """Return a row for each field of a model, in order: first those in no group, then each group.

    Groups are the fields whose type is a :class:`schemas.param_groups.ParamGroup`.
    """
    properties = model.model_json_schema()["properties"]
    found = [FieldGroup("", "", (model.__doc__ or "").strip().splitlines()[0], [])]
    for name, info in model.model_fields.items():
        if isinstance(info.default, ParamGroup):
            (own,) = field_groups(type(info.default))
            found.append(own._replace(name=name, title=info.title or name))
            continue
        row = FieldRow(
            name,
            _type_name(properties[name]),
            "required" if info.is_required() else _default(info.get_default()),
            info.description or "",
        )
        found[0].rows.append(row)
    return found


def markdown() -> str:
    """Return the page that documents manifests, settings and tables."""
    parts = [_HEAD.format(presets=_presets(), methods=_methods())]
    for name, model in MODELS.items():
        for group in field_groups(model):
            head = f"### {group.title} (`{group.name}`)" if group.name else f"## `{name}`"
            rows = ["| name | type | default | |", "|---|---|---|---|"]
            rows += [f"| `{row.name}` | {' | '.join(map(_cell, row[1:]))} |" for row in group.rows]
            parts.append(f"{head}\n\n{group.description}\n\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _presets() -> str:
    return "\n".join(f"- `{name}`: {_settings(values)}" for name, values in PRESETS.items())


def _methods() -> str:
    published = {name: info.defaults for name, info in METHODS.items() if info.defaults}
    return "\n".join(f"- `{name}`: {_settings(values)}" for name, values in published.items())


def _settings(values: Mapping[str, Any]) -> str:
    return ", ".join(f"`{name}={value}`" for name, value in values.items()) or "the defaults"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


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


if __name__ == "__main__":
    sys.stdout.write(markdown())
