"""Form: whether the product of a result is still that of the photo, and what to do if not."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from scipy.ndimage import binary_dilation, binary_erosion
from skimage.color import rgb2lab
from skimage.filters import gaussian, sobel
from torch import Tensor
from torch.nn import functional as F

from schemas.params import StyleParams
from stylegallery.color.lab import luminance
from stylegallery.images.codec import resize
from stylegallery.images.picture import Picture
from stylegallery.regions.descriptors import Descriptors
from stylegallery.types import RestyledLatent

_SIDE = 256
"""Short side in pixels at which form is measured: outlines and parts, and no texture."""
_BLUR = 1.5
_RING = 6  # width in pixels of the areas on both sides of the outline
_VISIBLE = 5.0
"""Color difference (CIE76) that is easily seen; contrasts below it count as this much."""

_SHARES = (0.6, 0.3)
"""Shares of the strength of a second and a third attempt."""


def keep_form(
    first: RestyledLatent, floor: float, again: Callable[[float], RestyledLatent]
) -> RestyledLatent:
    """Return the first of at most three results whose form reaches a floor, or else the best.

    Args:
        first: The result at full strength, with its form.
        floor: Least form, 0 to 1.
        again: Makes the result, with its form, at a share of the strength.
    """
    best, tried = first, [1.0]
    for share in _SHARES:
        if (best.form or 0.0) >= floor:
            break
        made = again(share)
        tried.append(share)
        best = made if (made.form or 0.0) > (best.form or 0.0) else best
    return replace(best, strengths=tuple(tried))


def weakened(params: StyleParams, share: float) -> StyleParams:
    """Return parameters that keep more of the photo: less noise, and less change of lightness."""
    return params.model_copy(
        update={
            "strength": share * params.strength,
            "fine_strength": share * params.sizes.fine_strength,
            "tone_lightness": share * params.tones.tone_lightness,
        }
    )


def with_form(restyled: RestyledLatent, picture: Picture) -> RestyledLatent:
    """Return a result with its finished picture and its form."""
    content = restyled.job.content
    product = product_mask(content.regions.labels, content.descriptors)
    form = form_kept(picture.pixels, content.picture.pixels, product)
    return replace(restyled, picture=picture, form=form)


def product_mask(labels: Tensor, described: Descriptors) -> Tensor:
    """Return the (h, w) bool mask of the product: the regions that hardly touch the border.

    Where all regions touch it, the whole picture is the product.

    Args:
        labels: (h, w) int64 region labels of the photo.
        described: Descriptors of its regions.
    """
    inner = described.contact < 1
    return inner[labels] if bool(inner.any()) else torch.ones_like(labels, dtype=torch.bool)


def form_kept(result: Tensor, photo: Tensor, product: Tensor) -> float:
    """Return how much of a product's form a result keeps, from 0 (nothing) to 1.

    The smaller of two shares, at a short side of 256 px:

    * outlines: the correlation of Sobel magnitudes of luminance, after a Gaussian blur of 1.5 px,
      in the product and its close surroundings;
    * contrast: the color difference (CIE76) between both sides of the product's outline, over
      that of the photo. Contrasts that are hardly seen are not asked for.

    Args:
        result: (1, 3, H, W) in [0, 1].
        photo: (1, 3, H', W') in [0, 1], of the same aspect.
        product: (h, w) bool mask of the product at any size; see :func:`product_mask`.
    """
    scale = _SIDE / min(photo.shape[-2:])
    size = (round(photo.shape[-2] * scale), round(photo.shape[-1] * scale))
    pictures = [resize(picture, size) for picture in (result, photo)]
    mask = F.interpolate(product[None, None].float(), size, mode="nearest")[0, 0].bool().numpy()
    near = binary_dilation(mask, iterations=_RING)
    edges = [sobel(gaussian(luminance(p[0]).numpy(), sigma=_BLUR))[near] for p in pictures]
    outlines = float(np.corrcoef(*edges)[0, 1]) if min(e.std() for e in edges) > 1e-6 else 0.0
    return max(0.0, min(outlines, _contrast_kept(pictures, mask, near)))


def _contrast_kept(pictures: list[Tensor], mask: np.ndarray, near: np.ndarray) -> float:
    inside, outside = mask & ~binary_erosion(mask, iterations=_RING), near & ~mask
    if not inside.any() or not outside.any():
        return 1.0
    differences = []
    for picture in pictures:
        lab = rgb2lab(picture[0].permute(1, 2, 0).numpy())
        differences.append(float(np.linalg.norm(lab[inside].mean(0) - lab[outside].mean(0))))
    now, before = differences
    return min(1.0, max(now, _VISIBLE) / max(before, _VISIBLE)) if before > _VISIBLE else 1.0
