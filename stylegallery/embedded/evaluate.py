"""Figures of a finished model on held-out pictures, and its contact sheet."""

from __future__ import annotations

import numpy as np
import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from PIL import Image
from skimage.metrics import structural_similarity

from stylegallery.embedded.autoencoder import decode
from stylegallery.embedded.data import Mixture, Picture
from stylegallery.embedded.distill import distill
from stylegallery.embedded.pca import PatchCode
from stylegallery.embedded.unet import build_scheduler, denoising_loss

NOISES = (0.0, 0.15, 0.35)
BINS = ((0, 100), (100, 300), (300, 600), (600, 1000))


def held_out_crops(mixture: Mixture, side: int, count: int) -> dict[str, torch.Tensor]:
    """Centre crops of held-out pictures by source; drawn patterns where nothing is held out.

    Returns:
        (n, 3, side, side) float32 in [0, 1], n <= count, for every source.
    """
    pictures = {k: v for k, v in mixture.held_out.items() if v}
    if not pictures:
        return {"patterns": Mixture([]).batch(99, 0, count, side).float() / 255}
    return {
        name: torch.cat([fit_square(p, side) for p in rows[:: max(1, len(rows) // count)][:count]])
        for name, rows in pictures.items()
    }


def fit_square(picture: Picture, side: int) -> torch.Tensor:
    """Centre square of a picture, resized: (1, 3, side, side) float32 in [0, 1]."""
    height, width = picture.shape[:2]
    crop = min(height, width)
    left, top = (width - crop) // 2, (height - crop) // 2
    box = (left, top, left + crop, top + crop)
    image = Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS, box)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255


@torch.no_grad()
def reconstruction(vae: AutoencoderTiny, code: PatchCode, pixels: torch.Tensor) -> dict[str, float]:
    """PSNR (dB) and SSIM of the trained decoder and of the linear inverse."""
    latents, figures = code.encode(pixels), {}
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
    cases = [(f", noise {s:g}" if s else "", latents + s * noise) for s in NOISES]
    pictures = [(f"decoder{label}", decode(vae, z)) for label, z in cases]
    pictures += [(f"linear{label}", code.decode(z)) for label, z in cases]
    for name, decoded in pictures:
        out = decoded.clamp(0, 1)
        mse = (out - pixels).square().mean((1, 2, 3))
        pairs = zip(out.permute(0, 2, 3, 1).numpy(), pixels.permute(0, 2, 3, 1).numpy(),
                    strict=True)  # fmt: skip
        ssim = [structural_similarity(a, b, channel_axis=2, data_range=1.0) for a, b in pairs]
        figures[f"{name} PSNR"] = round(float((-10 * mse.log10()).mean()), 2)
        figures[f"{name} SSIM"] = round(float(np.mean(ssim)), 3)
    return figures


@torch.no_grad()
def denoising(
    unet: UNet2DConditionModel, code: PatchCode, pixels: torch.Tensor, draws: int = 2
) -> dict[str, float]:
    """Squared error of predicted noise by range of timesteps (predicting zero scores 1)."""
    alphas, generator = build_scheduler().alphas_cumprod, torch.Generator().manual_seed(0)
    latents, figures = code.encode(pixels), {}
    for low, high in BINS:
        losses = []
        for _ in range(draws):
            t = torch.randint(low, high, (len(latents),), generator=generator)
            noise = torch.randn(latents.shape, generator=generator)
            losses.append(denoising_loss(unet, alphas, latents, noise, t).mean())
        figures[f"t {low}-{high}"] = round(float(torch.stack(losses).mean()), 4)
    return figures


def contact_sheet(
    unet: UNet2DConditionModel, vae: AutoencoderTiny, code: PatchCode,
    crops: dict[str, torch.Tensor], steps: int, rows: int, columns: int,
) -> Image.Image:  # fmt: skip
    """Products down the side, paintings along the top, their distillations between."""
    contents = crops.get("photos", next(iter(crops.values())))
    contents = contents[:: max(1, len(contents) // rows)][:rows]
    styles = crops.get("paintings", next(reversed(crops.values())))[:columns]
    lines = [torch.cat([torch.ones_like(styles[0]), *styles], 2)]
    for content in contents:
        line = [content]
        for style in styles:
            out = distill(unet, code.encode(content[None]), code.encode(style[None]), steps)
            with torch.no_grad():
                line.append(decode(vae, out)[0].clamp(0, 1))
        lines.append(torch.cat(line, 2))
    sheet = torch.cat(lines, 1)
    return Image.fromarray((sheet.permute(1, 2, 0).numpy() * 255 + 0.5).astype(np.uint8))


def shrink(sheet: Image.Image, cell: int, side: int) -> Image.Image:
    """A sheet of ``side``-pixel cells with cells of ``cell`` pixels."""
    scale = cell / side
    size = (round(sheet.width * scale), round(sheet.height * scale))
    return sheet.resize(size, Image.Resampling.LANCZOS)
