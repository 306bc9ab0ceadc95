"""The flags of `plan`, `run` and `stylize`, made from the fields of the schemas."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

from cyclopts import Group, Parameter
from pydantic import BaseModel

from flows.cli.settings import (
    LISTS,
    RENAMED,
    Layer,
    from_assignments,
    from_environment,
    from_file,
    report_renamed,
)
from schemas.engine import EngineSpec
from schemas.params import StyleParams
from schemas.presets import Preset
from schemas.run import PoolSpec, RestyleSpec

_INPUT = Group("Input and output", sort_key=1)
_STYLE = Group("Style", sort_key=2)
_MACHINE = Group("Engine and machines", sort_key=3)
_SHORT = {"loras": "--lora", "gates": "--gate", "image_format": "--format"}
"""Flags with other names than their fields; `--lora` and `--gate` are given once per value."""


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


@Parameter(name="*")
@dataclass(frozen=True)
class Flags:
    """Flags that set fields of the schemas; None if a flag is not given."""

    config: Annotated[
        Path | None,
        Parameter(
            group=_STYLE,
            help="TOML file with any of these settings; flags and STYLEGALLERY_* variables win. "
            "`published-sms` and others of `flows/cli/configs` go by their names.",
        ),
    ] = None
    preset: Annotated[
        Preset | None,
        Parameter(group=_STYLE, help="Set of defaults for the style parameters."),
    ] = None
    assignments: Annotated[
        list[str] | None,
        Parameter(
            name="--set",
            group=_STYLE,
            negative=(),
            help="Style parameter as name=value; repeatable. "
            "`stylegallery schema params` lists all.",
        ),
    ] = None

    def layers(self) -> list[Layer]:
        """Return the settings of the file, the environment and the flags, lowest priority first.

        Raises:
            flows.runtime.errors.UsageError: a source is unreadable or names an unknown setting.
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


def replace_former_names(words: Sequence[str]) -> list[str]:
    """Replace former names of flags in a command line, and print a note for each."""
    former = {_as_flag(old): _as_flag(new) for old, new in RENAMED.items()}
    found = []
    for word in words:
        flag, equals, value = word.partition("=")
        if flag in former:
            report_renamed(flag, former[flag])
        found.append(f"{former.get(flag, flag)}{equals}{value}")
    return found


def _as_flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _flag(model: type[BaseModel], field: str, group: Group) -> tuple[str, Any, None]:
    """Return name, type and default of the dataclass field for the flag of a setting."""
    name = _SHORT.get(field, _as_flag(field))
    kind = list[str] if field in LISTS else _scalar(model.model_fields[field].annotation)
    parameter = Parameter(
        name=name, group=group, help=field_help(model, field), negative_iterable=()
    )
    return field, Annotated[kind | None, parameter], None


def _scalar(annotation: Any) -> Any:
    """Return the type of a flag. Choices stay text: the schema's error message is clearer."""
    return str if get_origin(annotation) is Literal else annotation


def _with_flags(
    base: type[Flags], doc: str, groups: Mapping[type[BaseModel], tuple[Group, Sequence[str]]]
) -> type[Flags]:
    """Return a subclass of `base` with flags for more fields.

    Args:
        base: Class to extend.
        doc: Docstring of the subclass.
        groups: The help group and the names of the fields, by model.
    """
    made = [_flag(model, name, group) for model, (group, names) in groups.items() for name in names]
    own = {"__doc__": doc, "__module__": __name__}
    return make_dataclass("Flags", made, bases=(base,), frozen=True, namespace=own)


def _plain(model: type[BaseModel]) -> list[str]:
    """Return the fields of a model that are not models themselves."""
    nested = {"params", "engine", "pool"}
    return [name for name in model.model_fields if name not in nested]


if TYPE_CHECKING:

    class StyleFlags(Flags):
        """Flags for the style and the engine."""

    class RunFlags(StyleFlags):
        """Flags for a whole run."""
else:
    StyleFlags = _with_flags(
        Flags,
        "Flags for the style and the engine.",
        {StyleParams: (_STYLE, ["method"]), EngineSpec: (_MACHINE, _plain(EngineSpec))},
    )
    RunFlags = _with_flags(
        StyleFlags,
        "Flags for a whole run.",
        {RestyleSpec: (_INPUT, _plain(RestyleSpec)), PoolSpec: (_MACHINE, _plain(PoolSpec))},
    )
