"""Pictures at the size at which a customer sees them, and references at the same scale.

Distances of style are taken at one small size elsewhere, where strokes are smaller than a pixel.
Here they are taken at the result's own size, at a half and at a quarter of it.

A reference stands to a result as it does when the result is made: it fills the frame, so its short
side is resized to that of the result. A stroke then has the same share of the picture in both.
A reference with too few pixels for a scale is left out there: enlarged it is soft, and a soft
result would be the closest to it.
"""

from typing import Final

from torch import Tensor

from stylegallery.images.codec import to_short_side

SCALES: Final = {"own": 1.0, "half": 0.5, "quarter": 0.25}
"""Scales by their name in metrics, relative to the result's own size."""
LEAST_SIDE = 128
"""Least short side in pixels of a scale: four cells of the coarsest features."""
MOST_SIDE = 2048
"""Largest short side in pixels; larger pictures are measured at this size."""
MOST_ENLARGED = 1.25
"""How much a reference is enlarged at most."""


def own_side(pixels: Tensor) -> int:
    """Return the short side at which a picture (1, 3, H, W) is measured at its own size."""
    return int(min(*pixels.shape[-2:], MOST_SIDE))


def scale_sides(pixels: Tensor) -> dict[str, int]:
    """Return the short side of a picture (1, 3, H, W) at each scale that is large enough."""
    sides = {name: round(own_side(pixels) * scale) for name, scale in SCALES.items()}
    return {name: side for name, side in sides.items() if side >= LEAST_SIDE}


def reference_at(pixels: Tensor, side: int) -> Tensor | None:
    """Return a reference at the scale of a result, or None if it has too few pixels for it.

    Args:
        pixels: (1, 3, H, W) in [0, 1].
        side: Short side of the result in pixels.
    """
    return None if side > MOST_ENLARGED * min(pixels.shape[-2:]) else to_short_side(pixels, side)
