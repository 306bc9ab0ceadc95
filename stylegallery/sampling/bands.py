"""Limit an optimized latent to the energy that natural latents have in each frequency band."""

import torch
from torch import Tensor
from torch.nn import functional as F

_LEVELS = 4
_AMPLITUDE = 0.8


def limit_band_energy(start: Tensor, latent: Tensor, natural: list[Tensor]) -> Tensor:
    """Scale down the change of a latent wherever it exceeds the energy of natural latents.

    Adam changes every element by the same amount, so a channel of fine detail moves as far as one
    of color and prints a grid into the picture. Therefore the change in each channel of each
    Laplacian band may have at most 0.8 of the root mean square of natural latents in that band.
    The mean of a channel counts to its coarsest band.

    Args:
        start: (1, C, h, w) where the optimization began.
        latent: (1, C, h, w) where it ended.
        natural: Latents (1, C, h', w') of images: the content and the references.

    Returns:
        (1, C, h, w).
    """
    changes = split_bands(latent - start)
    images = [split_bands(one - one.mean(dim=(2, 3), keepdim=True)) for one in natural]
    for level, change in enumerate(changes):
        power = [bands[min(level, len(bands) - 1)].square().mean(dim=(2, 3)) for bands in images]
        limit = _AMPLITUDE * torch.stack(power).mean(dim=0).sqrt()
        size = change.square().mean(dim=(2, 3)).sqrt().clamp(min=1e-12)
        changes[level] = change * (limit / size).clamp(max=1)[..., None, None]
    return start + merge_bands(changes)


def split_bands(latent: Tensor) -> list[Tensor]:
    """Split (1, C, h, w) into at most four Laplacian bands, finest first."""
    bands = []
    for _ in range(_LEVELS - 1):
        height, width = latent.shape[-2:]
        if min(height, width) < 4:
            break
        half = ((height + 1) // 2, (width + 1) // 2)
        coarse = F.interpolate(latent, half, mode="bilinear", antialias=True)
        bands.append(latent - _enlarged(coarse, latent))
        latent = coarse
    return [*bands, latent]


def merge_bands(bands: list[Tensor]) -> Tensor:
    """Return the latent (1, C, h, w) that :func:`split_bands` split, from its bands."""
    latent = bands[-1]
    for band in reversed(bands[:-1]):
        latent = band + _enlarged(latent, band)
    return latent


def _enlarged(coarse: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(coarse, like.shape[-2:], mode="bilinear")
