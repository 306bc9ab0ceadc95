"""From the optimised latent to a picture of the original's size."""

import math

import torch
from scipy.ndimage import distance_transform_edt, gaussian_filter
from torch import Tensor
from torch.nn import functional as F

from schemas.params import StyleParams
from stylegallery.color.histogram import match_histogram
from stylegallery.color.lab import keep_chroma, luminance
from stylegallery.images.codec import resize
from stylegallery.images.picture import Picture
from stylegallery.matching.correspondence import Correspondence
from stylegallery.types import PreparedImage

_WHITE = 0.98  # a mask saved as JPEG is not quite white where its painter meant white
_FINE = 1 / 128  # of the shorter side: deviation of the blur that parts fine from coarse
_GRID = 256  # shorter side at which that blur is worked out: it holds nothing finer


def finish(
    pixels: Tensor,
    content: PreparedImage,
    styles: list[PreparedImage],
    routing: Correspondence,
    params: StyleParams,
    protect: Tensor | None = None,
) -> Picture:
    """Restore colours as asked for, size, detail, protected pixels and alpha.

    Args:
        pixels: (1, 3, h, w) decoded result in [0, 1] at working size.
        content: The image that was restyled.
        styles: The references that `routing` was made for, in the same order.
        routing: What each region took its style from.
        params: `color`, `detail` and `protect_feather` are used.
        protect: (1, 1, H, W) in [0, 1] of the original's size: white keeps the original pixel
            exactly, values between blend. See :func:`check_protection`, :func:`feathered`.
    """
    original = content.picture
    if params.color == "match-histogram":
        pixels = match_histogram(pixels, content, styles, routing)
    restyled = keep_detail(resize(pixels, original.size), original.pixels, params.detail)
    if params.color == "keep-chroma":
        restyled = keep_chroma(restyled, original.pixels)
    if protect is not None:
        kept = feathered(protect, params.protect_feather)
        restyled = torch.where(
            kept == 1, original.pixels, torch.lerp(restyled, original.pixels, kept)
        )
    return Picture(restyled, original.alpha)


def feathered(protect: Tensor, width: float) -> Tensor:
    """Grow a soft edge outward from the white of a protection image; inside stays 1 exactly.

    Args:
        protect: (1, 1, H, W) in [0, 1].
        width: Of the edge, as a share of the shorter side.

    Returns:
        (1, 1, H, W) in [0, 1], nowhere below `protect`.
    """
    white = protect[0, 0] >= _WHITE
    kept = protect.clone()
    kept[0, 0][white] = 1.0
    reach = width * min(protect.shape[-2:])
    if reach <= 0 or not white.any():
        return kept
    # Distances are only measured around the white: most of a large photo is far from its logo.
    margin = math.ceil(reach)
    rows, columns = (white.any(dim=axis).nonzero() for axis in (1, 0))
    near = tuple(
        slice(max(0, int(place.min()) - margin), int(place.max()) + margin + 1)
        for place in (rows, columns)
    )
    distance = torch.from_numpy(distance_transform_edt(~white[near].numpy())).float()
    ramp = (1 - distance / (reach + 1)).clamp(0, 1)
    smooth = ramp.square() * (3 - 2 * ramp)  # no crease where the edge begins and ends
    kept[0, 0][near] = torch.maximum(kept[0, 0][near], smooth)
    return kept


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
