"""Figures of the two networks alone: how well pictures survive, how well noise is found."""

from collections.abc import Callable

import numpy as np
import torch
from diffusers import AutoencoderDC, UNet2DConditionModel
from PIL import Image
from skimage.metrics import structural_similarity
from torch import Tensor

from stylegallery.metrics.content import psnr
from stylegallery.training.autoencoder import decode, encode
from stylegallery.training.data import Mixture, Picture
from stylegallery.training.pca import PatchCode
from stylegallery.training.unet import build_scheduler, denoising_errors

NOISE = 0.15
BINS, BIN = 10, 100  # timesteps


def held_out_crops(mixture: Mixture, side: int, count: int) -> dict[str, Tensor]:
    """Centre crops of held-out pictures by source; drawn patterns where nothing is held out.

    Returns:
        (n, 3, side, side) float32 in [0, 1], n <= count, for every source.
    """
    pictures = {k: v for k, v in mixture.held_out.items() if v}
    if not pictures:
        return {"patterns": Mixture([]).batch(99, 0, min(count, 4), side).float() / 255}
    return {
        name: torch.cat([fit_square(p, side) for p in rows[:: max(1, len(rows) // count)][:count]])
        for name, rows in pictures.items()
    }


def fit_square(picture: Picture, side: int) -> Tensor:
    """Centre square of a picture, resized: (1, 3, side, side) float32 in [0, 1]."""
    height, width = picture.shape[:2]
    crop = min(height, width)
    left, top = (width - crop) // 2, (height - crop) // 2
    box = (left, top, left + crop, top + crop)
    image = Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS, box)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255


@torch.no_grad()
def reconstruction(vae: AutoencoderDC, code: PatchCode, pixels: Tensor) -> dict[str, float]:
    """PSNR (dB) and SSIM of the autoencoder and of the principal components it started from."""
    noise = NOISE * torch.randn(
        encode(vae, pixels).shape, generator=torch.Generator().manual_seed(0)
    )
    ways: dict[str, Callable[[Tensor], Tensor]] = {
        "autoencoder": lambda x: decode(vae, encode(vae, x)),
        f"principal components of 8x8 patches, {code.channels} channels": (
            lambda x: code.decode(code.encode(x))
        ),
        f"autoencoder, noise {NOISE} in the latents": (
            lambda x: decode(vae, encode(vae, x) + noise)
        ),
    }
    figures: dict[str, float] = {}
    for name, way in ways.items():
        out = way(pixels).clamp(0, 1)
        pairs = list(zip(out, pixels, strict=True))
        figures[f"PSNR, {name}"] = round(float(np.mean([psnr(a, b) for a, b in pairs])), 2)
        ssim = [
            structural_similarity(a.numpy(), b.numpy(), channel_axis=0, data_range=1.0)
            for a, b in pairs
        ]
        figures[f"SSIM, {name}"] = round(float(np.mean(ssim)), 3)
    return figures


@torch.no_grad()
def denoising(unet: UNet2DConditionModel, latents: Tensor, draws: int = 4) -> list[float]:
    """Mean squared error of the predicted noise in ten bins of a hundred timesteps.

    The best constant predictor scores 1: the noise has mean 0 and variance 1.
    """
    alphas, generator = build_scheduler().alphas_cumprod, torch.Generator().manual_seed(0)

    def denoise(noisy: Tensor, timesteps: Tensor, null: Tensor) -> tuple[Tensor, None]:
        return unet(noisy, timesteps, encoder_hidden_states=null).sample, None

    figures = []
    for low in range(0, BINS * BIN, BIN):
        errors = []
        for _ in range(draws):
            t = torch.randint(low, low + BIN, (len(latents),), generator=generator)
            noise = torch.randn(latents.shape, generator=generator)
            errors.append(denoising_errors(denoise, alphas, latents, noise, t)[0])
        figures.append(round(float(torch.cat(errors).mean()), 4))
    return figures
