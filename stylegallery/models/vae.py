"""Encode pixels to latents and back; only this module uses [-1, 1] and the VAE's scale."""

import torch
from torch import Tensor

from stylegallery.errors import BadImage
from stylegallery.images.codec import resize
from stylegallery.models.diffusion import Models

_MIN_CELLS = 2


def working_size(size: tuple[int, int], short_side: int, factor: int) -> tuple[int, int]:
    """Return the working size (height, width) of an image in pixels.

    The short side becomes `short_side` and the aspect is kept; both sides are rounded to the
    nearest multiple of `factor`.

    Args:
        size: (H, W) of the image.
        short_side: Wanted short side.
        factor: Pixels per latent cell and side.

    Raises:
        BadImage: the short side would have a single cell, which has no statistics.
    """
    scale = short_side / min(size)
    height, width = (round(side * scale / factor) * factor for side in size)
    if min(height, width) < _MIN_CELLS * factor:
        raise BadImage(
            f"the working size of the picture would be {width}x{height} px, but this model needs "
            f"{_MIN_CELLS * factor} px per side; raise image_size, or set it to 0 for the model's "
            "own size."
        )
    return height, width


@torch.no_grad()
def encode(models: Models, pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Encode pixels (B, 3, H, W) in [0, 1], resized to `size`, to latents (B, C, h, w) float32.

    Returns the posterior's mean, so encoding is deterministic.
    """
    signed = resize(pixels.to(models.device), size) * 2 - 1
    # AutoencoderKL returns a posterior, AutoencoderTiny and AutoencoderDC the latent
    encoded = models.vae.encode(signed, return_dict=False)[0]
    latent = encoded if isinstance(encoded, Tensor) else encoded.mean
    scaled: Tensor = (latent - _shift(models)) * models.vae.config.scaling_factor
    return scaled.float()


@torch.no_grad()
def decode(models: Models, latent: Tensor) -> Tensor:
    """Decode latents (B, C, h, w) to pixels (B, 3, H, W) in [0, 1], float32, on the CPU."""
    raw = latent.float() / models.vae.config.scaling_factor + _shift(models)
    pixels: Tensor = models.vae.decode(raw, return_dict=False)[0]
    return ((pixels.float() + 1) / 2).clamp(0, 1).cpu()


def _shift(models: Models) -> float:
    return float(getattr(models.vae.config, "shift_factor", None) or 0.0)
