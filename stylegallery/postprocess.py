"""From the optimised latent to a picture of the original's size."""

import math

import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from schemas.params import StyleParams
from stylegallery.color.lab import keep_chroma, match_histogram
from stylegallery.detail import keep_detail
from stylegallery.errors import BadMask
from stylegallery.images.codec import resize
from stylegallery.matching.correspondence import Correspondence
from stylegallery.types import Picture, PreparedImage

_WHITE = 0.98  # a mask saved as JPEG is not quite white where its painter meant white


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


def check_protection(protect: Tensor, original: Picture) -> None:
    """Refuse a protection image (1, 1, H, W) that does not fit the original.

    Raises:
        BadMask: it has another size.
    """
    if tuple(protect.shape[-2:]) != original.size:
        raise BadMask(
            f"the protection image is {protect.shape[-1]}x{protect.shape[-2]} px, but the photo "
            f"is {original.size[1]}x{original.size[0]} px; make them the same size."
        )


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
