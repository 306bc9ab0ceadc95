"""What helps to find an image's regions beside its features; each of it may be missing."""

from dataclasses import dataclass
from typing import Final

from torch import Tensor


@dataclass(frozen=True, eq=False)
class SegmentationPriors:
    """What is known of one image before its regions are looked for.

    Attributes:
        labels: (H, W) int64 at any size; positive numbers are regions that the user fixes, which
            win over all else.
        depth: (h, w) float32 in [0, 1] on the latent grid, as :mod:`stylegallery.models.depth`
        gives it.
        segments: (H', W') int64 at any size, as :mod:`stylegallery.models.sam` gives them; from 1,
            and 0 where no mask is.
    """

    labels: Tensor | None = None
    depth: Tensor | None = None
    segments: Tensor | None = None


NO_PRIORS: Final = SegmentationPriors()
