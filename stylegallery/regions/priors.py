"""Optional inputs of segmentation beside an image's features: user labels, depth, segments."""

from dataclasses import dataclass
from typing import Final

from torch import Tensor


@dataclass(frozen=True, eq=False)
class SegmentationPriors:
    """What is known of an image before segmentation; each part may be None.

    Attributes:
        labels: (H, W) int64 at any size; positive numbers are regions fixed by the user, which
            override all others.
        depth: (h, w) float32 in [0, 1] on the latent grid, from
            :mod:`stylegallery.models.depth`.
        segments: (H', W') int64 at any size, from :mod:`stylegallery.models.sam`; segments count
            from 1, and 0 is outside all masks.
    """

    labels: Tensor | None = None
    depth: Tensor | None = None
    segments: Tensor | None = None


NO_PRIORS: Final = SegmentationPriors()
