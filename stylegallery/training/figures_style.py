"""Figures and pictures of the finished model in the engine: does style arrive?"""

import time
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from schemas.params import StyleParams
from schemas.presets import Preset, preset_params
from stylegallery.metrics.content import luminance_ssim
from stylegallery.metrics.style import gram_distance, style_features
from stylegallery.models.lite0 import load_lite0
from stylegallery.models.vae import decode
from stylegallery.pipeline import StyleGallery
from stylegallery.training.data import Mixture
from stylegallery.training.figures_latents import fit_square
from stylegallery.training.patterns import draw
from stylegallery.types import Picture

SHEET_PATTERNS = (3, 11)  # seeds of the drawn references on the sheet


def one_region(preset: Preset, **overrides: Any) -> StyleParams:
    """Attention distillation by the sampler and tones of `stylegallery`, without its detail.

    So that figures and pictures speak of the model, not of the matching, and not of what the
    published optimisation does to a latent of this kind.
    """
    ours = preset_params(preset).model_dump()
    plain = {"method": "attention-distillation", "detail": 0.0}
    return StyleParams(**{**ours, **plain, **overrides})


def style_arrival(
    engine: StyleGallery, contents: Tensor, references: Tensor, params: StyleParams
) -> dict[str, float]:
    """Style and form of results that take each reference as one region over the whole picture.

    Args:
        contents: (N, 3, S, S) held-out products.
        references: (N, 3, S, S), the reference of each.

    Returns:
        Means over the pairs: Gram distance to the reference (EfficientNet-Lite0, see
        :func:`stylegallery.metrics.style.gram_distance`) over that of the untouched content; SSIM
        of luminance to the content; seconds an item with the engine loaded and nothing prepared.
    """
    net, rows = load_lite0("cpu"), []
    for content, reference in zip(contents.split(1), references.split(1), strict=True):
        begin = time.monotonic()
        out = restyle(engine, content, reference, params)
        seconds = time.monotonic() - begin
        wanted = style_features(net, reference)
        before, after = (gram_distance(style_features(net, i), wanted) for i in (content, out))
        rows.append((after / before, luminance_ssim(out, content), seconds))
    ratio, ssim, seconds = np.mean(rows, axis=0)
    return {
        "pairs": len(rows),
        "Gram distance to the reference / that of the content": round(float(ratio), 3),
        "SSIM of luminance to the content": round(float(ssim), 3),
        "seconds an item": round(float(seconds), 1),
    }


def restyle(
    engine: StyleGallery, content: Tensor, reference: Tensor, params: StyleParams
) -> Tensor:
    """Return the content (1, 3, H, W) in the style of one reference, in [0, 1]."""
    images = [engine.prepare(Picture(pixels), params) for pixels in (content, reference)]
    routing = engine.match(images[0], images[1:], params)
    return engine.stylize(images[0], images[1:], routing, params).picture.pixels


def contact_sheet(
    engine: StyleGallery, mixture: Mixture, contents: Tensor, rows: int, params: StyleParams
) -> Image.Image:
    """Products, their reconstructions, and what each of the references along the top makes.

    References are held-out paintings, and drawn patterns that no batch has seen.
    """
    side = contents.shape[-1]
    paintings = mixture.held_out.get("paintings", [])[:3]
    references = [fit_square(p, side) for p in paintings]
    references += [fit_square(draw((10**6, seed), side), side) for seed in SHEET_PATTERNS]
    blank = torch.ones_like(references[0])
    lines = [torch.cat([blank, blank, *references], 3)]
    for content in contents[:: max(1, len(contents) // rows)][:rows, None]:
        again = decode(engine.models, engine.prepare(Picture(content), params).latent)
        line = [content, F.interpolate(again, content.shape[-2:])]
        line += [restyle(engine, content, reference, params) for reference in references]
        lines.append(torch.cat(line, 3))
    sheet = torch.cat(lines, 2)[0]
    return Image.fromarray((sheet.permute(1, 2, 0).numpy() * 255 + 0.5).astype(np.uint8))
