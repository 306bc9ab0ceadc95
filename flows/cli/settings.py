"""Merges the settings of a run: flags > environment > TOML file > preset > defaults.

The TOML file has the shape of :class:`schemas.run.RestyleSpec` (`[params]`, `[engine]`, `[pool]`)
plus `preset`. Flags and environment variables use the field names without their section, which
is possible because no two sections share a name. Style parameters need no group either: `[params]`
takes them with or without it. Unknown keys are errors.
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from flows.cli.console import print_stderr
from flows.runtime.errors import UsageError, did_you_mean, validation_message
from schemas.engine import EngineSpec
from schemas.params import GROUP_OF, GROUPS, RETIRED, SETTINGS, StyleParams
from schemas.presets import PRESETS
from schemas.run import PoolSpec, RestyleSpec
from schemas.text import one_line, short_repr
from tasks.logs import FORMAT_VARIABLE, LOG_FORMATS
from tasks.storage.policy import OPERATOR_VARIABLES

M = TypeVar("M", bound=BaseModel)

ENV_PREFIX: Final = "STYLEGALLERY_"
SECTIONS: Final[dict[str, type[BaseModel]]] = {
    "params": StyleParams,
    "engine": EngineSpec,
    "pool": PoolSpec,
}
_NAMES: Final = {
    "params": list(SETTINGS),
    "engine": list(EngineSpec.model_fields),
    "pool": list(PoolSpec.model_fields),
}
_TOP: Final = [name for name in RestyleSpec.model_fields if name not in SECTIONS]
_NO_SETTINGS: Final = {*OPERATOR_VARIABLES, FORMAT_VARIABLE}
LISTS: Final = {"galleries", "gallery_ids", "loras", "gates"}
"""Settings with several values: a repeated flag, or one variable separated by commas."""
RENAMED: Final = {**PoolSpec.renamed, **RestyleSpec.renamed}
"""Former names of settings that are still accepted, to their current names."""

_MAX_FILE: Final = 2**20
_CONFIGS: Final = Path(__file__).parent / "configs"

Layer = dict[str, Any]
"""Settings of one source by field name; `params.steps` is flattened to `steps`."""


def section_of(name: str) -> str | None:
    """Return the section that owns field `name`, or None for a top-level one."""
    retired = "params" if name in RETIRED else None
    return next((section for section, names in _NAMES.items() if name in names), retired)


def known_names() -> list[str]:
    """Return every name that a layer may hold."""
    nested = [name for names in _NAMES.values() for name in names]
    return [*_TOP, *nested, "preset"]


def bundled_configs() -> dict[str, Path]:
    """Return the TOML files that ship with the command line, by the names that --config takes."""
    return {path.stem: path for path in sorted(_CONFIGS.glob("*.toml"))}


def from_file(path: Path) -> Layer:
    """Read a TOML file, or one of :func:`bundled_configs`.

    Raises:
        UsageError: the file is unreadable or has an unknown key.
    """
    if not path.exists():
        path = bundled_configs().get(str(path), path)
    data, layer = _toml(path), Layer()
    for key, value in data.items():
        if key in SECTIONS and not isinstance(value, dict):
            raise UsageError(f"{path}: `{key}` is a section; write [{key}] above its settings")
        if key in SECTIONS:
            table = _without_groups(path, value) if key == "params" else value
            for name, inner in table.items():
                current = _current(name, f"{path}: `{key}.")
                message = f"{path}: unknown key `{key}.{_short(name)}`"
                _check(current, [*_NAMES[key], *RETIRED], message)
                layer[current] = inner
        else:
            key = _current(key, f"{path}: `")
            if key not in (*_TOP, "preset"):
                raise UsageError(f"{path}: {_describe_unknown_key(key, value)}")
            layer[key] = value
    return layer


def _without_groups(path: Path, table: Mapping[str, Any]) -> Layer:
    """Return the settings of [params] and of its groups by their own names.

    Raises:
        UsageError: a group is no section, or a setting is both in its group and outside.
    """
    layer: Layer = {}
    for name, value in table.items():
        if name in GROUPS and not isinstance(value, dict):
            hint = f"write [params.{name}] above its settings"
            raise UsageError(f"{path}: `params.{name}` is a section; {hint}")
        inside = {name: value}
        if name in GROUPS:
            inside = {_own_name(f"{name}.{key}"): inner for key, inner in value.items()}
        for twice in layer.keys() & inside.keys():
            places = f"in [params] and in [params.{GROUP_OF[twice]}]"
            raise UsageError(f"{path}: `{twice}` is given twice, {places}; remove one of them")
        layer |= inside
    return layer


def _own_name(name: str) -> str:
    """Return `match_tone` for `tones.match_tone`; return any other name as it is."""
    group, _, own = name.partition(".")
    return own if GROUP_OF.get(own) == group else name


def _describe_unknown_key(key: str, value: Any) -> str:
    """Return a message about an unknown top-level key of a TOML file, with a suggestion."""
    short = _short(key)
    if isinstance(value, dict):
        return f"unknown section [{short}]{did_you_mean(key, SECTIONS, '[{}]')}"
    if section := section_of(key):
        return f"`{short}` is a setting of [{section}]; write it below a line [{section}]"
    return f"unknown key `{short}`{did_you_mean(key, known_names())}"


def from_environment(environ: Mapping[str, str]) -> Layer:
    """Read the `STYLEGALLERY_*` variables; lists are separated by commas.

    Raises:
        UsageError: a variable names no setting, or an unknown log format.
    """
    check_log_format(environ)
    layer: Layer = {}
    for variable, text in environ.items():
        if not variable.startswith(ENV_PREFIX) or variable in _NO_SETTINGS:
            continue
        name = _current(variable.removeprefix(ENV_PREFIX).lower(), "environment: `")
        message = f"environment variable {_short(variable)} names no setting"
        _check(name, known_names(), message)
        layer[name] = [part for part in text.split(",") if part] if name in LISTS else text
    return layer


def report_renamed(old: str, new: str) -> None:
    """Print that a setting has a new name."""
    print_stderr(f"{old} is now called {new}; the old name still works")


def _current(name: str, where: str) -> str:
    """Return the current name of a setting; print a note if `name` is a former one."""
    if name in RENAMED:
        report_renamed(f"{where}{name}`", f"`{RENAMED[name]}`")
    return RENAMED.get(name, name)


def check_log_format(environ: Mapping[str, str]) -> None:
    """Check STYLEGALLERY_LOG_FORMAT, because the loggers ignore an unknown format silently.

    Raises:
        UsageError: it is neither json nor text.
    """
    wanted = environ.get(FORMAT_VARIABLE, "")
    if wanted.lower() not in LOG_FORMATS:
        raise UsageError(f"{FORMAT_VARIABLE} is {_short(wanted)!r}; set it to json or text")


def from_assignments(assignments: list[str]) -> Layer:
    """Read the style parameters of `--set name=value`.

    Raises:
        UsageError: an assignment has no `=`, or names no style parameter.
    """
    layer: Layer = {}
    for word in assignments:
        name, equals, text = word.partition("=")
        if not equals:
            example = "write it as name=value, for example --set steps=40"
            raise UsageError(f"--set {_short(word)}: {example}")
        message = f"--set {_short(word)}: `{_short(name)}` is not a style parameter"
        own = _own_name(name)
        _check(own, [*SETTINGS, *RETIRED], message)
        layer[own] = _plain(text)
    return layer


def resolve(*layers: Layer) -> RestyleSpec:
    """Merge layers, lowest priority first, over the preset that they name, and validate.

    Raises:
        UsageError: a value is invalid, or a required one is missing.
    """
    return _validated(RestyleSpec, _nested(layers))


def resolve_engine(*layers: Layer) -> tuple[StyleParams, EngineSpec]:
    """Merge layers like :func:`resolve`, for a command without a catalog.

    Raises:
        UsageError: a value is invalid.
    """
    nested = _nested(layers)
    params = _validated(StyleParams, nested["params"])
    return params, _validated(EngineSpec, nested.get("engine", {}))


def _nested(layers: Sequence[Layer]) -> dict[str, Any]:
    """Merge the layers and group their settings by section."""
    merged: Layer = {}
    for layer in layers:
        merged.update(layer)
    preset = merged.pop("preset", "balanced")
    if not isinstance(preset, str) or preset not in PRESETS:
        raise UsageError(
            f"preset {short_repr(preset)} does not exist; use one of {', '.join(PRESETS)}"
        )
    if preset == "fast":
        _check_fast(merged)
    nested: dict[str, Any] = {"params": dict(PRESETS[preset])}
    for name, value in merged.items():
        section = section_of(name)
        (nested.setdefault(section, {}) if section else nested)[name] = value
    return nested


def _check_fast(settings: Layer) -> None:
    """Check that preset `fast` has the few-step LoRA that it needs.

    Raises:
        UsageError: there is no LoRA, or the model is the embedded one, which no LoRA fits.
    """
    if settings.get("model", "embedded") == "embedded":
        raise UsageError(
            "preset fast needs SD 1.5 with an LCM or Hyper-SD LoRA, and the embedded model takes "
            "neither; use --preset preview, or name a model with --model and --lora"
        )
    if not settings.get("loras"):
        raise UsageError(
            "preset fast needs an LCM or Hyper-SD LoRA of the model; add it, for SD 1.5 with "
            "--lora latent-consistency/lcm-lora-sdv1-5, or use --preset preview"
        )


def _validated(model: type[M], values: dict[str, Any]) -> M:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise UsageError(validation_message(error)) from error


def _check(name: str, known: Any, message: str) -> None:
    if name not in known:
        raise UsageError(message + did_you_mean(name, known))


def _plain(text: str) -> Any:
    """Parse a JSON value, such as a number or boolean; anything else stays text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # text, too many digits, or nested too deep
        return text


def _toml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
        if len(data) > _MAX_FILE:
            size = f"larger than {_MAX_FILE // 2**20} MB"
            raise UsageError(f"--config {path} is {size}; give a TOML file of settings")
        return tomllib.loads(data.decode())
    except OSError as error:
        names = ", ".join(bundled_configs())
        reason = f"{error.strerror or error}; check the path, or use one of {names}"
        raise UsageError(f"--config {path}: {reason}") from error
    except RecursionError as error:
        raise UsageError(f"--config {path} is nested too deeply; write plain settings") from error
    except ValueError as error:
        reason = one_line(str(error), 200)
        raise UsageError(f"--config {path} is not TOML: {reason}; correct it") from error


def _short(text: str) -> str:
    return one_line(text, 80)
