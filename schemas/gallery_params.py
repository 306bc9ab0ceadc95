"""Style parameters of a gallery that names its method or preset."""

from functools import lru_cache
from typing import Any

from schemas.methods import Method
from schemas.params import GROUP_OF_METHOD, StyleParams
from schemas.presets import PRESETS, Preset

_OF_METHOD = {"sampler", "schedule", "repeats", "style_prompt"}.union(
    *(group.model_fields for group in GROUP_OF_METHOD.values())
)
"""Settings that choose within a method. A gallery with another method has its own."""
_OF_PRESETS = {name for values in PRESETS.values() for name in values}


@lru_cache(1024)
def gallery_params(run: StyleParams, method: Method | None, preset: Preset | None) -> StyleParams:
    """Return the parameters of a gallery: those of the run with a method's defaults, or a preset.

    What the run changes against the defaults of its own method, it changes for the gallery too,
    except settings that only its own method has. A gallery's preset decides on all settings that
    presets change.

    Args:
        run: Parameters of the run.
        method: Method of the gallery; None is that of its preset or of the run.
        preset: Preset of the gallery, if it has one.

    Raises:
        ValueError: the settings do not go together.
    """
    if method is None and preset is None:
        return run
    named: dict[str, Any] = dict(PRESETS[preset]) if preset else {}
    named["method"] = method or named.get("method", run.method)
    usual = StyleParams(method=run.method).flat()
    changed = {name: value for name, value in run.flat().items() if value != usual[name]}
    own = _OF_METHOD if named["method"] != run.method else set()
    own = own | _OF_PRESETS if preset else own
    kept = {name: value for name, value in changed.items() if name not in own}
    return StyleParams(**{**kept, **named})
