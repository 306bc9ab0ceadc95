"""The working sizes of a picture: where it is analyzed, and where it is sampled."""

import math

from schemas.params import StyleParams
from stylegallery.models.diffusion import Models

_DIRECT = 512
"""Short side in pixels up to which models that were trained on smaller pictures sample directly,
up to twice their training size. From coarse to fine is less close in style there, and keeps less
of the photo."""
_WORTH_IT = 1.25
"""Least factor between two sizes; a smaller one shows nothing new."""


def analysis_size(params: StyleParams, models: Models) -> int:
    """Return the short side in pixels at which regions are found."""
    size = params.image_size or models.native_size
    return size if has_one_size(params) else min(size, models.native_size)


def sampling_sizes(params: StyleParams, models: Models, size: tuple[int, int]) -> tuple[int, ...]:
    """Return the short sides in pixels at which a picture is sampled, coarsest first.

    Args:
        params: `image_size` and `scale` say what the finest size is.
        models: The diffusion model.
        size: (H, W) of the picture, the limit of all sizes above the training size.
    """
    native, coarsest = models.native_size, analysis_size(params, models)
    if has_one_size(params):
        return (coarsest,)
    finest = min(round(params.image_size or native * params.sizes.scale), *size)
    if finest < _WORTH_IT * coarsest:
        return (coarsest,)
    base = max(native, min(_DIRECT, 2 * native))
    if finest < _WORTH_IT * base:
        return (finest,)
    count = max(1, math.ceil(math.log2(finest / base) - 0.01))
    factor = (finest / base) ** (1 / count)
    return (base, *(round(base * factor**level) for level in range(1, count + 1)))


def has_one_size(params: StyleParams) -> bool:
    """Whether pictures are analyzed and sampled at one size."""
    return params.sizes.scale == 1 or params.sampler != "guided"
