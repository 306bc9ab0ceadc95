"""Keep an optimised latent where natural latents are, band by band."""

import torch
from torch import Tensor
from torch.nn import functional as F

_LEVELS = 4
_AMPLITUDE = 0.8


def limit_band_energy(start: Tensor, latent: Tensor, natural: list[Tensor]) -> Tensor:
    """Shrink what an optimisation did in any channel and band that natural latents hardly have.

    Adam moves every number by the same amount, so a channel of fine detail drifts as far as one
    of colour, and its drift prints the same mark into every cell: a grid. So each channel of each
    Laplacian band of the move may at most have 0.8 of the root mean square that it has in natural
    latents, and of the mean of a channel nothing but what its coarsest band allows.

    Args:
        start: (1, C, h, w) where the optimisation began.
        latent: (1, C, h, w) where it ended.
        natural: Latents (1, C, h', w') of pictures: the content and the references.

    Returns:
        (1, C, h, w).
    """
    moves = split(latent - start)
    pictures = [split(one - one.mean(dim=(2, 3), keepdim=True)) for one in natural]
    for level, move in enumerate(moves):
        shown = [bands[min(level, len(bands) - 1)].square().mean(dim=(2, 3)) for bands in pictures]
        wanted = _AMPLITUDE * torch.stack(shown).mean(dim=0).sqrt()
        size = move.square().mean(dim=(2, 3)).sqrt().clamp(min=1e-12)
        moves[level] = move * (wanted / size).clamp(max=1)[..., None, None]
    return start + merge(moves)


def split(latent: Tensor) -> list[Tensor]:
    """Split (1, C, h, w) into Laplacian bands, finest first; :func:`merge` sums them up."""
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


def merge(bands: list[Tensor]) -> Tensor:
    """Put bands, finest first, together again: (1, C, h, w)."""
    latent = bands[-1]
    for band in reversed(bands[:-1]):
        latent = band + _enlarged(latent, band)
    return latent


def _enlarged(coarse: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(coarse, like.shape[-2:], mode="bilinear")
