"""The working sizes of a picture, from coarse to fine."""

import math

from schemas.params import StyleParams
from stylegallery.models.diffusion import Models

_WORTH_IT = 1.25
"""Least factor between two sizes; a smaller one shows nothing new."""


def working_sizes(params: StyleParams, models: Models, size: tuple[int, int]) -> tuple[int, ...]:
    """Return the short sides in pixels at which a picture is sampled, coarsest first.

    Args:
        params: `image_size` and `scale` say what the finest size is.
        models: The diffusion model, whose training size is the coarsest.
        size: (H, W) of the picture, the limit of all sizes but the coarsest.
    """
    native = models.native_size
    if params.sizes.scale == 1 or params.sampler != "guided":
        return (params.image_size or native,)
    wanted = params.image_size or native * params.sizes.scale
    finest = min(round(wanted), *size)
    if finest < _WORTH_IT * native:
        return (min(params.image_size or native, native),)
    count = max(1, math.ceil(math.log2(finest / native) - 0.01))
    factor = (finest / native) ** (1 / count)
    return (native, *(round(native * factor**level) for level in range(1, count + 1)))
