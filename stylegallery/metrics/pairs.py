"""Matched regions, and means of what is measured of them."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class RegionPair:
    """A region of the content and the reference region that it is matched with.

    Attributes:
        mask: (h, w) bool, the content region, at any size.
        style: Index of the reference.
        style_mask: (h, w) bool, the reference region, at any size.
        area: Share of the content that the region covers, 0 to 1.
    """

    mask: Tensor
    style: int
    style_mask: Tensor
    area: float


def weighted_mean(parts: Iterable[tuple[float, float | None]]) -> float | None:
    """Return the mean of (weight, value) pairs without those of no value; None if none is left."""
    known = [(weight, value) for weight, value in parts if value is not None]
    whole = sum(weight for weight, _ in known)
    return sum(weight * value for weight, value in known) / whole if whole else None


def ratio(now: float | None, before: float | None) -> float | None:
    """Return a distance divided by that of the untouched photo; None if either is missing or 0."""
    return now / before if now is not None and before else None
