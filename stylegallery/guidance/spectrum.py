"""Compare latents in low frequencies of the discrete cosine transform."""

import torch
from torch import Tensor


def dct_matrix(size: int) -> Tensor:
    """Return the orthonormal DCT-II as a matrix (size, size) float64; row k has frequency k."""
    frequency = torch.arange(size, dtype=torch.float64)[:, None]
    place = torch.arange(size, dtype=torch.float64)[None] + 0.5
    matrix: Tensor = (torch.pi / size * frequency * place).cos() * (2 / size) ** 0.5
    matrix[0] /= 2**0.5
    return matrix


class Spectrum:
    """The discrete cosine transform of latents of one size, by two matrix products."""

    def __init__(self, size: tuple[int, int], device: torch.device) -> None:
        """Prepare for latents of (h, w) cells."""
        self._rows, self._columns = (dct_matrix(side).float().to(device) for side in size)
        height, width = size
        frequencies = torch.arange(height)[:, None] + torch.arange(width)[None]
        self._frequencies = frequencies.to(device)
        self._highest = height + width - 2

    def coefficients(self, latent: Tensor) -> Tensor:
        """Return the coefficients (..., h, w) of latents (..., h, w)."""
        return self._rows @ latent @ self._columns.T

    def low_frequencies(self, change: Tensor, share: float) -> Tensor:
        """Return the mean absolute coefficient (B,) of changes (B, C, h, w) in low frequencies.

        Progressive spectrum regularization of style matching score (SMS, arXiv 2503.07601).

        Args:
            change: Difference of two latents.
            share: Coefficients (u, v) count if u + v is at most this share of the largest sum;
                1 counts all. Others are 0 in the mean.
        """
        counted = self._frequencies <= share * self._highest
        return (self.coefficients(change) * counted).abs().mean(dim=(1, 2, 3))
