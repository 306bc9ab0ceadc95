"""The linear latent code that training starts from: principal components of 8x8 RGB patches."""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

PATCH = 8


@dataclass(frozen=True)
class PatchCode:
    """``z = weight @ patch + bias`` per patch.

    Args:
        weight: (channels, 192) float32; patch order (colour, row, column).
        bias: (channels,) float32.
        inverse: (192, channels) float32, least-squares decoder.
        mean: (192,) float32, mean patch, values in [0, 1].
    """

    weight: torch.Tensor
    bias: torch.Tensor
    inverse: torch.Tensor
    mean: torch.Tensor

    @property
    def channels(self) -> int:
        """Number of latent channels."""
        return int(self.weight.shape[0])

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """Latents as the UNet sees them.

        Args:
            pixels: (B, 3, H, W) float in [0, 1], sides multiples of 8.

        Returns:
            (B, channels, H/8, W/8) float32, about unit variance.
        """
        z = torch.einsum("kp,bpn->bkn", self.weight, F.unfold(pixels, PATCH, stride=PATCH))
        shape = (-1, self.channels, pixels.shape[2] // PATCH, pixels.shape[3] // PATCH)
        return (z + self.bias[:, None]).reshape(shape)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Linear reconstruction, the baseline the trained decoder must beat.

        Returns:
            (B, 3, 8h, 8w) float32, about [0, 1].
        """
        patches = torch.einsum("pk,bkn->bpn", self.inverse, latents.flatten(2))
        size = (latents.shape[2] * PATCH, latents.shape[3] * PATCH)
        return F.fold(patches + self.mean[:, None], size, PATCH, stride=PATCH)

    def tensors(self) -> dict[str, torch.Tensor]:
        """All fields by name, for saving."""
        return {name: getattr(self, name) for name in ("weight", "bias", "inverse", "mean")}


def fit(pixels: torch.Tensor, channels: int) -> PatchCode:
    """Fit the code to pictures.

    Every component is divided by the square root of its standard deviation: half way to white.
    Fully white, the patch's mean colour would be worth no more than its faintest detail, and noise
    in it shows as a grid of patches; not at all, the details would drown in a diffusion's noise.

    Args:
        pixels: (B, 3, H, W) uint8.
        channels: latent channels, 1 to 192.
    """
    patches = F.unfold(pixels.float() / 255, PATCH, stride=PATCH).transpose(1, 2).reshape(-1, 192)
    mean = patches.mean(0)
    centred = (patches - mean).double()
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
    order = torch.argsort(values, descending=True)[:channels]
    scale, basis = values[order].clamp_min(1e-8).sqrt(), vectors[:, order]
    basis = basis * torch.where(basis.sum(0) < 0, -1.0, 1.0)
    weight = (basis / (scale * scale.mean()).sqrt()).T
    bias = -weight @ mean.double()
    return PatchCode(weight.float(), bias.float(), torch.linalg.pinv(weight).float(), mean)
