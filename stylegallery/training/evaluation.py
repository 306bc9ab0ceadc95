"""Evaluate a trained model: its autoencoder, its UNet, its features and its restyled pictures."""

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

NOISE = 0.15  # standard deviation, of latents of about unit variance
BINS, BIN = 10, 100  # timesteps
STRIP = 0.04  # of the side: width of the border that is tested for a plain background
PLAIN = 12.0  # CIE76 color difference within a plain background
PLAIN_SHARE = 0.85  # share of the border within this difference
CLOSING = 0.03  # of the side: radius of the closing disk
Mask = NDArray[np.bool_]
SHEET_PATTERNS = (3, 11)  # seeds of the drawn references on the sheet


def held_out_crops(mixture: Mixture, side: int, count: int) -> dict[str, Tensor]:
    """Return center crops of held-out pictures by source; drawn patterns if none is held out.

    Returns:
        (n, 3, side, side) float32 in [0, 1], n <= count, for each source.
    """
    pictures = {k: v for k, v in mixture.held_out.items() if v}
    if not pictures:
        return {"patterns": Mixture([]).batch(99, 0, min(count, 4), side).float() / 255}
    return {
        name: torch.cat([fit_square(p, side) for p in rows[:: max(1, len(rows) // count)][:count]])
        for name, rows in pictures.items()
    }


def fit_square(picture: PhotoArray, side: int) -> Tensor:
    """Crop the center square of a picture and resize it: (1, 3, side, side) float32 in [0, 1]."""
    height, width = picture.shape[:2]
    crop = min(height, width)
    left, top = (width - crop) // 2, (height - crop) // 2
    box = (left, top, left + crop, top + crop)
    image = Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS, box)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255


@torch.no_grad()
def reconstruction(vae: AutoencoderDC, code: PatchCode, pixels: Tensor) -> dict[str, float]:
    """Return PSNR (dB) and SSIM of the autoencoder and of the linear code that it started from."""
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
    metrics: dict[str, float] = {}
    for name, way in ways.items():
        out = way(pixels).clamp(0, 1)
        pairs = list(zip(out, pixels, strict=True))
        metrics[f"PSNR, {name}"] = round(float(np.mean([psnr(a, b) for a, b in pairs])), 2)
        ssim = [
            structural_similarity(a.numpy(), b.numpy(), channel_axis=0, data_range=1.0)
            for a, b in pairs
        ]
        metrics[f"SSIM, {name}"] = round(float(np.mean(ssim)), 3)
    return metrics


@torch.no_grad()
def denoising(unet: UNet2DConditionModel, latents: Tensor, draws: int = 4) -> list[float]:
    """Return the mean squared error of the predicted noise in ten bins of 100 timesteps.

    Predicting zero has an error of 1, because the noise has mean 0 and variance 1.
    """
    alphas, generator = build_scheduler().alphas_cumprod, torch.Generator().manual_seed(0)

    def denoise(noisy: Tensor, timesteps: Tensor, null: Tensor) -> tuple[Tensor, None]:
        return unet(noisy, timesteps, encoder_hidden_states=null).sample, None

    metrics = []
    for low in range(0, BINS * BIN, BIN):
        errors = []
        for _ in range(draws):
            t = torch.randint(low, low + BIN, (len(latents),), generator=generator)
            noise = torch.randn(latents.shape, generator=generator)
            errors.append(denoising_errors(denoise, alphas, latents, noise, t)[0])
        metrics.append(round(float(torch.cat(errors).mean()), 4))
    return metrics


def segmentation(
    models: Models, encoder: SemanticEncoder, crops: Tensor, count: int
) -> dict[str, float]:
    """Return the mean IoU of region maps and foreground masks, and that of k-means on Lab colors.

    Args:
        models: Networks of the engine.
        encoder: Semantic encoder of the engine.
        crops: (N, 3, H, W) held-out products.
        count: Number of products used, the first on a plain background.
    """
    scores: dict[str, list[float]] = {"regions": [], "k-means on Lab color": []}
    for pixels in crops:
        mask = foreground(pixels)
        if mask is None or len(scores["regions"]) == count:
            continue
        latent = vae.encode(models, pixels[None], (pixels.shape[1], pixels.shape[2]))
        features = inversion_features(models, latent, StyleParams().regions.inversion_steps)
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


def foreground(pixels: Tensor) -> Mask | None:
    """Return the mask of a product on a plain background, or None.

    A background is plain if 85 % of a strip along the border differs by at most 12 (CIE76) from the
    strip's median color. Foreground pixels differ from this median by more than Otsu's threshold
    (at least 12). They are closed by a disk of 3 % of the side, so that light prints and stripes
    belong to the garment, and holes are filled. The mask is the largest connected piece; it must
    cover 8 to 80 % of the picture.

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
    """Return the largest intersection over union of a mask and any union of regions, both (h, w).

    Adding regions in descending order of the share that the mask covers is optimal.
    """
    inside = torch.stack([(mask & (labels == r)).sum() for r in labels.unique()]).float()
    size = torch.stack([(labels == r).sum() for r in labels.unique()]).float()
    order = (inside / size).argsort(descending=True)
    hit, taken = inside[order].cumsum(0), size[order].cumsum(0)
    return float((hit / (taken + mask.sum() - hit)).max())


def correspondence(models: Models, short_side: int) -> dict[str, float]:
    """Return the share of cells of a stereo pair whose nearest neighbor is the true match.

    The pair is Middlebury 2014's motorcycle, with its disparity, from scikit-image. A match may be
    off by one row and 1.5 columns. UNet features are compared with the raw colors of 8x8 pixels.
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
    steps = StyleParams().regions.inversion_steps
    unet = [_standardized(inversion_features(models, latent, steps)) for _, latent in pair]
    patches = [
        F.pixel_unshuffle(F.interpolate(p, size, mode="bilinear", antialias=True),
                          models.vae_factor) - 0.5
        for p, _ in pair
    ]  # fmt: skip
    return {
        "UNet features": _match_rate(unet[0], unet[1], shift),
        "raw color patches": _match_rate(patches[0], patches[1], shift),
    }


def style_transfer_metrics(
    engine: StyleGallery, contents: Tensor, references: Tensor, params: StyleParams
) -> dict[str, float]:
    """Return style and content metrics of products restyled by one reference each.

    Args:
        engine: The engine.
        contents: (N, 3, S, S) held-out products.
        references: (N, 3, S, S), the reference of each product.
        params: Parameters; see :func:`one_region`.

    Returns:
        Means over the pairs: Gram distance to the reference
        (:func:`stylegallery.metrics.style.gram_distance`) over that of the original; SSIM of
        luminance to the original; seconds per item, with the engine loaded and empty caches.
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


def one_region(preset: Preset, **overrides: Any) -> StyleParams:
    """Return parameters of attention distillation with `stylegallery`'s sampler and no `detail`.

    With one region, results depend on the model and not on region matching.
    """
    ours = preset_params(preset).flat()
    plain = {"method": "attention-distillation", "detail": 0.0}
    return StyleParams(**{**ours, **plain, **overrides})


def restyle(
    engine: StyleGallery, content: Tensor, reference: Tensor, params: StyleParams
) -> Tensor:
    """Return the content (1, 3, H, W) restyled by one reference, in [0, 1]."""
    images = [engine.prepare(Picture(pixels), params) for pixels in (content, reference)]
    routing = engine.match(images[0], images[1:], params)
    return engine.stylize(images[0], images[1:], routing, params).picture.pixels


def contact_sheet(
    engine: StyleGallery, mixture: Mixture, contents: Tensor, rows: int, params: StyleParams
) -> Image.Image:
    """Draw products, their reconstructions, and their restyled pictures for each reference.

    References are held-out paintings and drawn patterns that no batch contains.
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


def _standardized(features: Tensor) -> Tensor:
    flat = features.float().cpu()
    deviation = flat.std((2, 3), keepdim=True).clamp(min=1e-6)
    return (flat - flat.mean((2, 3), keepdim=True)) / deviation


def _cell_shift(disparity: NDArray[np.float32], grid: torch.Size) -> Tensor:
    """Return by how many columns each cell (h, w) moves left; NaN if unknown."""
    known = torch.from_numpy(np.isfinite(disparity)).float()[None, None]
    values = torch.from_numpy(np.where(np.isfinite(disparity), disparity, 0)).float()[None, None]
    share, mean = (F.interpolate(v, tuple(grid), mode="area")[0, 0] for v in (known, values))
    columns = mean / share.clamp(min=1e-6) * grid[1] / disparity.shape[1]
    return torch.where(share > 0.5, columns, torch.nan)


def _match_rate(left: Tensor, right: Tensor, shift: Tensor) -> float:
    height, width = shift.shape
    one, two = (F.normalize(side[0].flatten(1), dim=0) for side in (left, right))
    best = (one.T @ two).argmax(dim=1).reshape(height, width)
    rows, columns = torch.arange(height)[:, None], torch.arange(width)[None]
    truth = columns - shift
    asked = shift.isfinite() & (truth >= 0)
    near = ((best // width - rows).abs() <= 1) & ((best % width - truth).abs() <= 1.5)
    return round(float(near[asked].float().mean()), 3)
