"""Figures of what the UNet's features mean: regions that are things, points that correspond."""

from importlib.resources import files

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_fill_holes
from skimage.color import rgb2lab
from skimage.filters import threshold_otsu
from skimage.measure import label
from skimage.morphology import closing, disk
from sklearn.cluster import KMeans
from torch import Tensor
from torch.nn import functional as F

from schemas.params import StyleParams
from stylegallery.models import vae
from stylegallery.models.diffusion import Models
from stylegallery.models.inversion import inversion_features
from stylegallery.models.semantic import SemanticEncoder
from stylegallery.regions.segmentation import segment

STRIP = 0.04  # of the side: the border that tells whether a background is plain
PLAIN = 12.0  # CIE76 colour difference
PLAIN_SHARE = 0.85  # of the strip
CLOSING = 0.03  # of the side
Mask = NDArray[np.bool_]


def foreground(pixels: Tensor) -> Mask | None:
    """The product's mask where its background is plain, else None.

    Plain: 85 % of a strip along the border lies within a colour difference (CIE76) of 12 of its
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
    """Mean IoU of region maps with derived foreground masks, against k-means on Lab colour.

    Args:
        crops: (N, 3, H, W) held-out products; the first `count` on a plain background are used.
    """
    scores: dict[str, list[float]] = {"regions": [], "k-means on Lab colour": []}
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
        colours = F.interpolate(pixels[None], grid, mode="area")[0].permute(1, 2, 0).numpy()
        rows = rgb2lab(colours).reshape(-1, 3)
        found = KMeans(regions.count, n_init=10, random_state=0).fit_predict(rows)
        scores["k-means on Lab colour"].append(
            union_iou(torch.from_numpy(found).reshape(grid).long(), truth)
        )
    used = len(scores["regions"])
    if not used:
        return {"products on a plain background": 0}
    return {f"{name}, {used} products": round(float(np.mean(v)), 3) for name, v in scores.items()}


def correspondence(models: Models, short_side: int) -> dict[str, float]:
    """Share of cells of scikit-image's stereo pair whose nearest neighbour is the true match.

    Middlebury 2014's motorcycle with its disparity. Right: within one row and one and a half
    columns of the truth. UNet features against raw colours of the same 8x8 pixels.
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
    unet = [_standardised(inversion_features(models, latent, steps)) for _, latent in pair]
    patches = [
        F.pixel_unshuffle(F.interpolate(p, size, mode="bilinear", antialias=True),
                          models.vae_factor) - 0.5
        for p, _ in pair
    ]  # fmt: skip
    return {
        "UNet features": _hits(unet[0], unet[1], shift),
        "raw colour patches": _hits(patches[0], patches[1], shift),
    }


def _standardised(features: Tensor) -> Tensor:
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
