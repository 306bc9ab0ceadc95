"""The flags of `plan`, `run` and `stylize`; their texts are those of the schemas' fields."""

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal, get_args, get_origin

from cyclopts import Group, Parameter
from pydantic import BaseModel

from flows.cli.settings import Layer, from_assignments, from_environment, from_file
from schemas.engine import EngineSpec
from schemas.params import StyleParams
from schemas.presets import Preset
from schemas.run import PoolSpec, RestyleSpec

_INPUT = Group("Input and output", sort_key=1)
_STYLE = Group("Style", sort_key=2)
_MACHINE = Group("Engine and machines", sort_key=3)


def field_help(model: type[BaseModel], name: str) -> str:
    """Return a field's description with its choices and default."""
    info = model.model_fields[name]
    notes = []
    if get_origin(info.annotation) is Literal:
        notes.append("one of " + ", ".join(str(choice) for choice in get_args(info.annotation)))
    if info.is_required():
        notes.append("required")
    elif info.default not in ("", [], (), False, None):
        notes.append(f"default {info.default}")
    return f"{info.description}" + (f" [{'; '.join(notes)}]" if notes else "")


def _flag(model: type[BaseModel], field: str, group: Group, name: str | None = None) -> Parameter:
    return Parameter(
        name=name or f"--{field.replace('_', '-')}",
        group=group,
        help=field_help(model, field),
        negative_iterable=(),
    )


@Parameter(name="*")
@dataclass(frozen=True)
class StyleFlags:
    """How to restyle and on what engine; None where the flag was left out."""

    config: Annotated[
        Path | None,
        Parameter(
            group=_STYLE,
            help="TOML file with any of these settings; flags and STYLEGALLERY_* variables win.",
        ),
    ] = None
    method: Annotated[str | None, _flag(StyleParams, "method", _STYLE)] = None
    preset: Annotated[
        Preset | None,
        Parameter(group=_STYLE, help="A set of defaults for the style parameters."),
    ] = None
    assignments: Annotated[
        list[str] | None,
        Parameter(
            name="--set",
            group=_STYLE,
            negative=(),
            help="A style parameter as name=value, repeatable; "
            "`stylegallery schema params` lists them.",
        ),
    ] = None
    model: Annotated[str | None, _flag(EngineSpec, "model", _MACHINE)] = None
    revision: Annotated[str | None, _flag(EngineSpec, "revision", _MACHINE)] = None
    config_folder: Annotated[str | None, _flag(EngineSpec, "config_folder", _MACHINE)] = None
    loras: Annotated[list[str] | None, _flag(EngineSpec, "loras", _MACHINE, "--lora")] = None
    encoder: Annotated[str | None, _flag(EngineSpec, "encoder", _MACHINE)] = None
    depth: Annotated[str | None, _flag(EngineSpec, "depth", _MACHINE)] = None
    sam: Annotated[str | None, _flag(EngineSpec, "sam", _MACHINE)] = None
    device: Annotated[str | None, _flag(EngineSpec, "device", _MACHINE)] = None
    dtype: Annotated[str | None, _flag(EngineSpec, "dtype", _MACHINE)] = None

    def layers(self) -> list[Layer]:
        """Return the settings given by file, environment and flags, weakest first.

        Raises:
            flows.runtime.errors.UsageError: a source cannot be read or names what does not exist.
        """
        given: Layer = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.name not in ("assignments", "config") and getattr(self, f.name) is not None
        }
        return [
            from_file(self.config) if self.config else {},
            from_environment(os.environ),
            {**given, **from_assignments(self.assignments or [])},
        ]


@Parameter(name="*")
@dataclass(frozen=True)
class RunFlags(StyleFlags):
    """What to restyle, and on how many machines."""

    catalog: Annotated[str | None, _flag(RestyleSpec, "catalog", _INPUT)] = None
    galleries: Annotated[list[str] | None, _flag(RestyleSpec, "galleries", _INPUT)] = None
    output: Annotated[str | None, _flag(RestyleSpec, "output", _INPUT)] = None
    only: Annotated[list[str] | None, _flag(RestyleSpec, "only", _INPUT)] = None
    limit: Annotated[int | None, _flag(RestyleSpec, "limit", _INPUT)] = None
    image_format: Annotated[str | None, _flag(RestyleSpec, "image_format", _INPUT, "--format")] = (
        None
    )
    quality: Annotated[int | None, _flag(RestyleSpec, "quality", _INPUT)] = None
    require_license: Annotated[bool | None, _flag(RestyleSpec, "require_license", _INPUT)] = None
    strict: Annotated[bool | None, _flag(RestyleSpec, "strict", _INPUT)] = None
    check_assets: Annotated[bool | None, _flag(RestyleSpec, "check_assets", _INPUT)] = None
    max_failed: Annotated[float | None, _flag(RestyleSpec, "max_failed", _INPUT)] = None
    evaluate: Annotated[bool | None, _flag(RestyleSpec, "evaluate", _INPUT)] = None
    gates: Annotated[list[str] | None, _flag(RestyleSpec, "gates", _INPUT, "--gate")] = None
    actors: Annotated[int | None, _flag(PoolSpec, "actors", _MACHINE)] = None
    gpus_per_actor: Annotated[float | None, _flag(PoolSpec, "gpus_per_actor", _MACHINE)] = None
    batch: Annotated[int | None, _flag(PoolSpec, "batch", _MACHINE)] = None
    lease: Annotated[int | None, _flag(PoolSpec, "lease", _MACHINE)] = None
    ray_address: Annotated[str | None, _flag(PoolSpec, "ray_address", _MACHINE)] = None
