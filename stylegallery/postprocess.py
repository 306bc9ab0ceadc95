"""From decoded pixels to a picture of the original's size."""

import math

import torch
from scipy.ndimage import distance_transform_edt, gaussian_filter
from torch import Tensor
from torch.nn import functional as F

from schemas.params import StyleParams
from stylegallery.color.histogram import match_histogram
from stylegallery.color.lab import keep_chroma, luminance
from stylegallery.images.picture import Picture
from stylegallery.texture import transfer_texture
from stylegallery.types import StyleJob
from stylegallery.white_ground import white_ground

_WHITE = 0.98  # JPEG stores the white of a mask with small errors
_BLUR = 1 / 128  # standard deviation of the blur, as a share of the shorter side
_GRID = 256  # shorter side at which the blur is computed; enough for its bandwidth


def postprocess(pixels: Tensor, job: StyleJob, params: StyleParams) -> Picture:
    """Restore the original's size, detail, protected pixels and alpha, and adjust colors.

    Args:
        pixels: (1, 3, h, w) decoded result in [0, 1] at working size.
        job: The job that was restyled. Where `protect` is white, the original pixel is kept
            exactly; values between blend. See :func:`feathered`.
        params: `color`, `texture`, `stroke_size`, `detail`, `white_ground` and `protect_feather`
            are used.

    Returns:
        The picture, at the original's size (H, W).
    """
    original, protect = job.content.picture, job.protect
    if params.tones.color == "match-histogram":
        pixels = match_histogram(pixels, job.content, job.styles, job.routing)
    texture, stroke_size = params.fine_texture.texture, params.sizes.stroke_size
    enlarged = transfer_texture(pixels, job, original.size, texture, stroke_size)
    restyled = keep_detail(enlarged, original.pixels, params.finish.detail)
    if params.tones.color == "keep-chroma":
        restyled = keep_chroma(restyled, original.pixels)
    if params.ground.white_ground == "keep":
        ground = white_ground(job.content)
        if ground is not None:
            restyled = torch.lerp(restyled, original.pixels, ground)
    if protect is not None:
        kept = feathered(protect, params.finish.protect_feather)
        restyled = torch.where(
            kept == 1, original.pixels, torch.lerp(restyled, original.pixels, kept)
        )
    return Picture(restyled, original.alpha)


def feathered(protect: Tensor, width: float) -> Tensor:
    """Add a soft edge outside the white area of a protection image.

    Args:
        protect: (1, 1, H, W) in [0, 1].
        width: Width of the edge, as a share of the shorter side.

    Returns:
        (1, 1, H, W) in [0, 1], exactly 1 in the white area and nowhere below `protect`.
    """
    white = protect[0, 0] >= _WHITE
    kept = protect.clone()
    kept[0, 0][white] = 1.0
    reach = width * min(protect.shape[-2:])
    if reach <= 0 or not white.any():
        return kept
    # Distances are computed around the white area only; most of a large photo is far from it.
    margin = math.ceil(reach)
    rows, columns = (white.any(dim=axis).nonzero() for axis in (1, 0))
    near = tuple(
        slice(max(0, int(place.min()) - margin), int(place.max()) + margin + 1)
        for place in (rows, columns)
    )
    distance = torch.from_numpy(distance_transform_edt(~white[near].numpy())).float()
    ramp = (1 - distance / (reach + 1)).clamp(0, 1)
    smooth = ramp.square() * (3 - 2 * ramp)  # smoothstep: no visible start and end
    kept[0, 0][near] = torch.maximum(kept[0, 0][near], smooth)
    return kept


def keep_detail(restyled: Tensor, content: Tensor, share: float) -> Tensor:
    """Take a share of the fine luminance detail from the content.

    The engine works at a few hundred pixels, and its autoencoder loses seams, lettering, eyes and
    edges. Strokes and palette are coarser than that. The published methods have no such step.
    Fine detail is what a Gaussian blur of 1/128 of the shorter side removes; all three channels
    change by the same amount.

    Args:
        restyled: (1, 3, H, W) in [0, 1].
        content: The original, of the same shape and range.
        share: From 0, no change, to 1, all detail from the content.

    Returns:
        (1, 3, H, W) in [0, 1].
    """
    if share == 0:
        return restyled
    gap = luminance((content - restyled)[0])
    return (restyled + share * (gap - _coarse(gap))).clamp(0, 1)


def _coarse(gap: Tensor) -> Tensor:
    """Blur (H, W); large images are blurred at reduced size."""
    size = (int(gap.shape[0]), int(gap.shape[1]))
    scale = min(1.0, _GRID / min(size))
    grid = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
    small = F.interpolate(gap[None, None], grid, mode="area")[0, 0]
    blurred = torch.from_numpy(gaussian_filter(small.numpy(), _BLUR * min(grid)))
    return F.interpolate(blurred[None, None], size, mode="bicubic")[0, 0]
