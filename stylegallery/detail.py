"""Fine light and shade of the photo, given back to what was made of it."""

import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional as F

from stylegallery.color.lab import luminance

_FINE = 1 / 128  # of the shorter side: deviation of the blur that parts fine from coarse
_GRID = 256  # shorter side at which that blur is worked out: it holds nothing finer


def keep_detail(restyled: Tensor, content: Tensor, share: float) -> Tensor:
    """Let a share of the fine light and shade be the photo's own.

    The engine works at a few hundred pixels and its autoencoder rounds off what is small: seams,
    lettering, eyes, the edge of a thing. Strokes and palette live above that scale. What it costs
    in style stands in the README's tables. All three channels move alike.

    The published methods do nothing of the kind.

    Args:
        restyled: (1, 3, H, W) in [0, 1].
        content: The photo, of the same shape and range.
        share: 0 leaves `restyled` as it is, 1 takes all detail from the photo.

    Returns:
        (1, 3, H, W) in [0, 1].
    """
    if share == 0:
        return restyled
    gap = luminance((content - restyled)[0])
    return (restyled + share * (gap - _coarse(gap))).clamp(0, 1)


def _coarse(gap: Tensor) -> Tensor:
    """Blur (H, W), at a smaller size where it is large."""
    size = (int(gap.shape[0]), int(gap.shape[1]))
    scale = min(1.0, _GRID / min(size))
    grid = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
    small = F.interpolate(gap[None, None], grid, mode="area")[0, 0]
    blurred = torch.from_numpy(gaussian_filter(small.numpy(), _FINE * min(grid)))
    return F.interpolate(blurred[None, None], size, mode="bicubic")[0, 0]
