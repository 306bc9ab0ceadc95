"""Named trades of time against strength of style."""

from typing import Any, Final, Literal

from schemas.params import StyleParams

Preset = Literal["quality", "balanced", "fast", "preview", "catalog"]

PRESETS: Final[dict[Preset, dict[str, Any]]] = {
    "quality": {"steps": 40, "scale": 16},
    "balanced": {},
    "fast": {
        "sampler": "optimise",
        "scale": 1,
        "form_floor": 0,
        "texture": 0.0,
        "schedule": "lcm",
        "steps": 28,
        "repeats": 3,
        "learning_rate": 0.25,
        "content_weight": 0.33,
    },
    "preview": {
        "steps": 14,
        "strength": 0.6,
        "learning_rate": 0.14,
        "scale": 1,
        "form_floor": 0,
        "texture": 0.0,
    },
    "catalog": {"method": "sms", "passes": 2},
}
"""What each preset changes against the defaults of :class:`StyleParams`.

`fast` has the settings of StyleGallery's authors (arXiv 2603.10354) for SD 1.5 with the LCM LoRA,
which the engine must be given; for Hyper-SD's LoRA they use schedule hyper, learning_rate 0.15 and
content_weight 0.38. `catalog` learns the references first, which pays from about ten products on.
"""


def preset_params(preset: Preset, **overrides: Any) -> StyleParams:
    """Return the parameters of `preset` with `overrides` on top.

    Raises:
        pydantic.ValidationError: an override has an unknown name or a value out of range.
    """
    return StyleParams(**{**PRESETS[preset], **overrides})
