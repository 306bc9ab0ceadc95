"""Optimise a latent band by band, each in steps of the size that natural latents have there.

Adam moves every number of a latent by the same amount, so noise of a single cell grows as fast
as the tone of a whole region. In natural latents neighbouring cells agree, so such noise is off
the manifold and shows as blocks. Steps in proportion to the references' own energy, scale by
scale and channel by channel, keep the result where the decoder is at home. The published code
has no such step; its model forgives more.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

LEVELS = 4


def bands(latent: Tensor, levels: int = LEVELS) -> list[Tensor]:
    """Split (1, C, h, w) into Laplacian bands, finest first; they sum up by :func:`collapse`."""
    found = []
    for _ in range(levels - 1):
        height, width = latent.shape[-2:]
        if min(height, width) < 4:
            break
        coarse = _halved(latent)
        found.append(latent - _enlarged(coarse, latent))
        latent = coarse
    return [*found, latent]


def collapse(parts: list[Tensor]) -> Tensor:
    """Put bands, finest first, together again: (1, C, h, w)."""
    latent = parts[-1]
    for band in reversed(parts[:-1]):
        latent = band + _enlarged(latent, band)
    return latent


def _halved(latent: Tensor) -> Tensor:
    height, width = latent.shape[-2:]
    size = ((height + 1) // 2, (width + 1) // 2)
    return F.interpolate(latent, size, mode="bilinear", antialias=True)


def _enlarged(coarse: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(coarse, like.shape[-2:], mode="bilinear")


def amplitudes(references: list[Tensor], levels: int) -> list[Tensor]:
    """Return the step sizes (1, C, 1, 1) of each band, finest first.

    They are the root mean square of the band over all references, weighed by its part of the
    channel's strongest band: a channel moves where it lives. Detail channels, say, hardly have a
    mean, and one given to them would print the same pattern into every cell.
    """
    split = [bands(reference, levels) for reference in references]
    energies = [
        torch.stack(
            [parts[min(level, len(parts) - 1)].square().mean(dim=(2, 3)) for parts in split]
        )
        for level in range(levels)
    ]
    rms = torch.stack(energies).mean(dim=1).sqrt()
    steps = rms.square() / rms.amax(dim=0).clamp(min=1e-6)
    return [step[..., None, None] for step in steps]


class PyramidLatent:
    """A latent as start plus moves in every band, each in units of its amplitude."""

    def __init__(self, start: Tensor, references: list[Tensor]) -> None:
        """Begin at `start` (1, C, h, w); `references` give the amplitudes."""
        shapes = bands(start)
        self._start = start
        self._scale = amplitudes(references, len(shapes))
        self.moves = [torch.zeros_like(band).requires_grad_() for band in shapes]

    def normalise_gradients(self) -> None:
        """Bring each channel of each band to gradients of root mean square 1.

        Adam would do so cell by cell, and cells that want nothing would move as far as those
        that want much.
        """
        for move in self.moves:
            if move.grad is not None:
                size = move.grad.square().mean(dim=(2, 3), keepdim=True).sqrt()
                move.grad /= size.clamp(min=1e-12)

    def value(self) -> Tensor:
        """Return the latent (1, C, h, w) as it stands."""
        parts = [move - _enlarged(_halved(move), move) for move in self.moves[:-1]]
        parts.append(self.moves[-1])
        scaled = [part * scale for part, scale in zip(parts, self._scale, strict=True)]
        return self._start + collapse(scaled)
