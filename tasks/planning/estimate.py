"""Estimate the time and disk space of a plan."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Final

from schemas.params import StyleParams
from schemas.result import ItemResult
from schemas.run import PlanCounts, RestyleSpec

_SECONDS_PER_STEP: Final = {"cpu": 0.3, "cuda": 0.04, "mps": 0.1}
"""Orders of magnitude: `cpu` for the embedded model on two cores, `cuda` for SD 1.5."""
_USUAL_SCALE: Final = 4
"""The size of most photos, in training sizes; they are not read for an estimate."""
_DIRECT_SCALE: Final = 2
"""The size up to which a picture is sampled directly."""
_LEARNING: Final = 2.5
"""Cost of a training step, in steps of an item: 75 s for 100 steps of the embedded model."""
_BYTES: Final = {"png": 1_500_000, "webp": 900_000, "jpg": 400_000}
"""Typical size of a restyled photo of one megapixel."""


@dataclass(frozen=True)
class Estimate:
    """Rough cost of the styles to learn and the items left to do.

    Attributes:
        seconds_per_item: Seconds that one engine takes for one item.
        bytes_per_item: Size of one asset.
        seconds: Seconds for all styles and items on the requested number of actors.
        bytes: Size of all assets.
        measured: True if measured on earlier items of this output, false for a default.
    """

    seconds_per_item: float
    bytes_per_item: float
    seconds: float
    bytes: float
    measured: bool


def estimate(
    counts: PlanCounts,
    spec: RestyleSpec,
    galleries: Sequence[StyleParams],
    device_class: str,
    done: Iterable[ItemResult],
) -> Estimate:
    """Estimate the cost of what is left to do, from `done` rows or else from the step counts.

    Args:
        counts: Numbers of the items and styles that are left.
        spec: Parameters of the run.
        galleries: Style parameters of each gallery; they count alike.
        device_class: `cpu`, `cuda` or `mps`.
        done: Rows of earlier items.
    """
    measured = [row for row in done if row.status == "ok" and row.timings.get("total")]
    if measured:
        per_item = sum(row.timings["total"] for row in measured) / len(measured)
        size = sum(row.asset_bytes or 0 for row in measured) / len(measured)
    else:
        steps = [_steps(params) for params in galleries or [spec.params]]
        per_item = mean(steps) * _SECONDS_PER_STEP[device_class]
        size = _BYTES[spec.image_format]
    learning = counts.to_learn * _learning_steps(spec) * _SECONDS_PER_STEP[device_class]
    seconds = (counts.todo * per_item + learning) / max(spec.pool.actors, 1)
    return Estimate(per_item, size, seconds, counts.todo * size, bool(measured))


def _learning_steps(spec: RestyleSpec) -> float:
    """Return how many steps of an item learning a style costs about as much as."""
    usual = 100 if spec.engine.model == "embedded" else 200
    return _LEARNING * (spec.params.adapter.adapter_steps or usual)


def _steps(params: StyleParams) -> float:
    """Return how many steps at the model's training size an item costs about as much as."""
    if params.sms.passes:
        return params.sms.passes
    sizes, scale = params.sizes, min(params.sizes.scale, _USUAL_SCALE)
    first = min(scale, _DIRECT_SCALE) ** 2  # pixels in training sizes, as all below
    finer = 4 / 3 * max(scale**2 - _DIRECT_SCALE**2, 0)
    own = first * params.steps + params.regions.inversion_steps
    return own + finer * sizes.fine_steps * sizes.fine_strength
