"""What a plan will cost, roughly."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from schemas.result import ItemResult
from schemas.run import RestyleSpec

_SECONDS_PER_STEP: Final = {"cpu": 0.3, "cuda": 0.04, "mps": 0.1}
"""Orders of magnitude for the embedded model on two cores, and for SD 1.5 on a GPU."""
_BYTES: Final = {"png": 1_500_000, "webp": 900_000, "jpg": 400_000}
"""Of a restyled photo of about one megapixel."""


@dataclass(frozen=True)
class Estimate:
    """A guess, not a promise.

    Attributes:
        seconds_per_item: Of one engine.
        bytes_per_item: Of one asset.
        seconds: For all that is left, on the actors asked for.
        bytes: For all that is left.
        measured: True when earlier items of this output are the base, not rules of thumb.
    """

    seconds_per_item: float
    bytes_per_item: float
    seconds: float
    bytes: float
    measured: bool


def estimate(
    todo: int, spec: RestyleSpec, device_class: str, done: Iterable[ItemResult]
) -> Estimate:
    """Guess what `todo` items cost, from rows that are done or, without any, from the steps."""
    known = [row for row in done if row.status == "ok" and row.timings.get("total")]
    if known:
        per_item = sum(row.timings["total"] for row in known) / len(known)
        size = sum(row.asset_bytes or 0 for row in known) / len(known)
    else:
        steps = spec.params.steps + spec.params.inversion_steps
        per_item = steps * _SECONDS_PER_STEP[device_class]
        size = _BYTES[spec.image_format]
    seconds = todo * per_item / max(spec.pool.actors, 1)
    return Estimate(per_item, size, seconds, todo * size, bool(known))
