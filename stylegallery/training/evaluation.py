"""Evaluate a trained model: its two networks, its features, and its results in the engine."""

import time
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderDC, UNet2DConditionModel
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_fill_holes
from skimage.color import rgb2lab
from skimage.filters import threshold_otsu
from skimage.measure import label
from skimage.metrics import structural_similarity
from skimage.morphology import closing, disk
from sklearn.cluster import KMeans
from torch import Tensor
from torch.nn import functional as F

from schemas.params import StyleParams
from schemas.presets import Preset, preset_params
from stylegallery.images.picture import Picture
from stylegallery.metrics.content import luminance_ssim, psnr
from stylegallery.metrics.style import gram_distance, style_features
from stylegallery.models import vae
from stylegallery.models.diffusion import Models
from stylegallery.models.inversion import inversion_features
from stylegallery.models.lite0 import load_lite0
from stylegallery.models.semantic import SemanticEncoder
from stylegallery.pipeline import StyleGallery
from stylegallery.regions.segmentation import segment
from stylegallery.training.autoencoder import PatchCode, decode, encode
from stylegallery.training.data import Mixture, PhotoArray
from stylegallery.training.patterns import draw
from stylegallery.training.unet import build_scheduler, denoising_errors

NOISE = 0.15
BINS, BIN = 10, 100  # timesteps
STRIP = 0.04  # of the side: the border that tells whether a background is plain
PLAIN = 12.0  # CIE76 color difference
PLAIN_SHARE = 0.85  # of the strip
CLOSING = 0.03  # of the side
Mask = NDArray[np.bool_]
SHEET_PATTERNS = (3, 11)  # seeds of the drawn references on the sheet


def held_out_crops(mixture: Mixture, side: int, count: int) -> dict[str, Tensor]:
    """Center crops of held-out pictures by source; drawn patterns where nothing is held out.

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


def fit_square(picture: PhotoArray, side: int) -> Tensor:
    """Center square of a picture, resized: (1, 3, side, side) float32 in [0, 1]."""
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


def foreground(pixels: Tensor) -> Mask | None:
    """The product's mask where its background is plain, else None.

    Plain: 85 % of a strip along the border lies within a color difference (CIE76) of 12 of its
    median. Foreground: what differs from that median by more than Otsu's threshold over the whole
    picture (at least 12), closed by a disk of 3 % of the side, so that light prints and stripes
    belong to the garment, its holes filled, its largest connected piece; 8 to 80 % of the picture.

    Args:
        pixels: (3, H, W) in [0, 1].

    Returns:
        (H, W) bool, or None.
    """
    lab = rgb2lab(pixels.permute(1, 2, 0).numpy())
    strip = max(2, round(STRIP * min(lab.shape[:2])))
    border = np.ones(lab.shape[:2], bool)
    border[strip:-strip, strip:-strip] = False
    distance = np.linalg.norm(lab - np.median(lab[border], axis=0), axis=2)
    if np.quantile(distance[border], PLAIN_SHARE) > PLAIN:
        return None
    different = distance > max(PLAIN, threshold_otsu(distance))
    closed = closing(different, disk(round(CLOSING * min(lab.shape[:2]))))
    pieces = label(binary_fill_holes(closed))
    if not pieces.any():
        return None
    mask: Mask = pieces == np.bincount(pieces.flat)[1:].argmax() + 1
    return mask if 0.08 < mask.mean() < 0.8 else None


def union_iou(labels: Tensor, mask: Tensor) -> float:
    """Best intersection over union of any union of regions with a mask, both (h, w).

    Regions are taken in falling order of the share that the mask covers, which is optimal.
    """
    inside = torch.stack([(mask & (labels == r)).sum() for r in labels.unique()]).float()
    size = torch.stack([(labels == r).sum() for r in labels.unique()]).float()
    order = (inside / size).argsort(descending=True)
    hit, taken = inside[order].cumsum(0), size[order].cumsum(0)
    return float((hit / (taken + mask.sum() - hit)).max())


def segmentation(
    models: Models, encoder: SemanticEncoder, crops: Tensor, count: int
) -> dict[str, float]:
    """Mean IoU of region maps with derived foreground masks, against k-means on Lab color.

    Args:
        crops: (N, 3, H, W) held-out products; the first `count` on a plain background are used.
    """
    scores: dict[str, list[float]] = {"regions": [], "k-means on Lab color": []}
    for pixels in crops:
        mask = foreground(pixels)
        if mask is None or len(scores["regions"]) == count:
            continue
        latent = vae.encode(models, pixels[None], (pixels.shape[1], pixels.shape[2]))
        features = inversion_features(models, latent, StyleParams().inversion_steps)
        regions = segment(features, encoder(pixels[None]), latent, StyleParams())
        grid = (latent.shape[-2], latent.shape[-1])
        small = F.interpolate(torch.from_numpy(mask)[None, None].float(), grid, mode="area")
        truth = small[0, 0] > 0.5
        scores["regions"].append(union_iou(regions.labels, truth))
        colors = F.interpolate(pixels[None], grid, mode="area")[0].permute(1, 2, 0).numpy()
        rows = rgb2lab(colors).reshape(-1, 3)
        found = KMeans(regions.count, n_init=10, random_state=0).fit_predict(rows)
        scores["k-means on Lab color"].append(
            union_iou(torch.from_numpy(found).reshape(grid).long(), truth)
        )
    used = len(scores["regions"])
    if not used:
        return {"products on a plain background": 0}
    return {f"{name}, {used} products": round(float(np.mean(v)), 3) for name, v in scores.items()}


def correspondence(models: Models, short_side: int) -> dict[str, float]:
    """Share of cells of scikit-image's stereo pair whose nearest neighbor is the true match.

    Middlebury 2014's motorcycle with its disparity. Right: within one row and one and a half
    columns of the truth. UNet features against raw colors of the same 8x8 pixels.
    """
    folder = files("skimage").joinpath("data")
    pair, size = [], (0, 0)
    for name in ("motorcycle_left.png", "motorcycle_right.png"):
        with Image.open(str(folder / name)) as image:
            pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None] / 255
        size = vae.working_size((pixels.shape[2], pixels.shape[3]), short_side, models.vae_factor)
        pair.append((pixels, vae.encode(models, pixels, size)))
    disparity = np.load(str(folder / "motorcycle_disp.npz"))["arr_0"]
    shift = _cell_shift(disparity, pair[0][1].shape[-2:])
    steps = StyleParams().inversion_steps
    unet = [_standardized(inversion_features(models, latent, steps)) for _, latent in pair]
    patches = [
        F.pixel_unshuffle(F.interpolate(p, size, mode="bilinear", antialias=True),
                          models.vae_factor) - 0.5
        for p, _ in pair
    ]  # fmt: skip
    return {
        "UNet features": _hits(unet[0], unet[1], shift),
        "raw color patches": _hits(patches[0], patches[1], shift),
    }


def _standardized(features: Tensor) -> Tensor:
    flat = features.float().cpu()
    deviation = flat.std((2, 3), keepdim=True).clamp(min=1e-6)
    return (flat - flat.mean((2, 3), keepdim=True)) / deviation


def _cell_shift(disparity: NDArray[np.float32], grid: torch.Size) -> Tensor:
    """(h, w) columns that each cell moves to the left; nan where the truth is unknown."""
    known = torch.from_numpy(np.isfinite(disparity)).float()[None, None]
    values = torch.from_numpy(np.where(np.isfinite(disparity), disparity, 0)).float()[None, None]
    share, mean = (F.interpolate(v, tuple(grid), mode="area")[0, 0] for v in (known, values))
    columns = mean / share.clamp(min=1e-6) * grid[1] / disparity.shape[1]
    return torch.where(share > 0.5, columns, torch.nan)


def _hits(left: Tensor, right: Tensor, shift: Tensor) -> float:
    height, width = shift.shape
    one, two = (F.normalize(side[0].flatten(1), dim=0) for side in (left, right))
    best = (one.T @ two).argmax(dim=1).reshape(height, width)
    rows, columns = torch.arange(height)[:, None], torch.arange(width)[None]
    truth = columns - shift
    asked = shift.isfinite() & (truth >= 0)
    near = ((best // width - rows).abs() <= 1) & ((best % width - truth).abs() <= 1.5)
    return round(float(near[asked].float().mean()), 3)


def one_region(preset: Preset, **overrides: Any) -> StyleParams:
    """Attention distillation by the sampler and tones of `stylegallery`, without its detail.

    So that figures and pictures speak of the model, not of the matching, and not of what the
    published optimization does to a latent of this kind.
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
        again = vae.decode(engine.models, engine.prepare(Picture(content), params).latent)
        line = [content, F.interpolate(again, content.shape[-2:])]
        line += [restyle(engine, content, reference, params) for reference in references]
        lines.append(torch.cat(line, 3))
    sheet = torch.cat(lines, 2)[0]
    return Image.fromarray((sheet.permute(1, 2, 0).numpy() * 255 + 0.5).astype(np.uint8))
