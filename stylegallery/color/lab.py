"""Which colours a result may have: the content's own (Lab), or those of the references."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from stylegallery.images.picture import Picture
from stylegallery.matching.correspondence import Correspondence
from stylegallery.regions.region_map import RegionMap
from stylegallery.types import PreparedImage

LEVELS = 256
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_BISECTIONS = 12  # chroma to a four-thousandth of itself, below what 8 bits show
_KAPPA, _EPSILON = 24389 / 27, 216 / 24389
_TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)


def luminance(colours: Tensor) -> Tensor:
    """Return the luma (H, W) of colours (3, H, W), or of differences of colours."""
    return torch.einsum("c,chw->hw", torch.tensor(_LUMA), colours)


def rgb_to_lab(pixels: Tensor) -> Tensor:
    """Convert sRGB (B, 3, H, W) in [0, 1] to CIE Lab (white D65): L 0 to 100, a and b signed."""
    linear = torch.where(
        pixels <= 0.04045, pixels / 12.92, ((pixels.clamp(min=0) + 0.055) / 1.055) ** 2.4
    )
    # Rows are divided by the white point, so that white is (1, 1, 1).
    matrix = torch.tensor(_TO_XYZ)
    matrix = matrix / matrix.sum(dim=1, keepdim=True)
    xyz = torch.einsum("ij,bjhw->bihw", matrix, linear)
    root = torch.where(xyz > _EPSILON, xyz.clamp(min=0) ** (1 / 3), (_KAPPA * xyz + 16) / 116)
    x, y, z = root.unbind(dim=1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """Convert CIE Lab (B, 3, H, W) to sRGB in [0, 1].

    A colour that no screen can show keeps lightness and hue and loses as much chroma as it
    must: cutting off single channels would shift its hue and its lightness.
    """
    rgb = _lab_to_any_rgb(lab)
    outside = ((rgb < -1e-4) | (rgb > 1 + 1e-4)).any(dim=1)
    if outside.any():
        colours = lab.movedim(1, -1)[outside].T[None, :, :, None]  # (1, 3, N, 1)
        rgb.movedim(1, -1)[outside] = _less_chroma(colours)[0, :, :, 0].T
    return rgb.clamp(0, 1)


def keep_chroma(restyled: Tensor, content: Tensor) -> Tensor:
    """Return the lightness of `restyled` with the hue and chroma of `content`.

    Args:
        restyled: (B, 3, H, W) in [0, 1].
        content: The same shape and range.
    """
    lightness = rgb_to_lab(restyled)[:, :1]
    return lab_to_rgb(torch.cat([lightness, rgb_to_lab(content)[:, 1:]], dim=1))


def match_histogram(
    pixels: Tensor, content: PreparedImage, styles: list[PreparedImage], routing: Correspondence
) -> Tensor:
    """Give each region, channel by channel, the colour histogram of what it was routed to.

    Every reference pixel counts with the factor that routing gives to its region, so weights of
    references, pins and fallbacks hold here too; a region that keeps the content (no reference
    is allowed to it) keeps the colours that it has. Regions are blended softly over about one
    latent cell, so that their borders leave no seam.

    Args:
        pixels: (1, 3, h, w) in [0, 1], the result at any size.
        content: The image that was restyled.
        styles: The references that `routing` was made for, in the same order.
        routing: What each region took its style from.

    Returns:
        (1, 3, h, w) in [0, 1].
    """
    size = (int(pixels.shape[-2]), int(pixels.shape[-1]))
    lent = np.concatenate([_region_histograms(s.picture, s.regions) for s in styles])
    wanted = np.einsum("rs,scl->rcl", routing.log_weights.exp().double().cpu().numpy(), lent)
    present = _region_histograms(Picture(pixels), content.regions)
    share = F.interpolate(content.regions.one_hot[None], size, mode="bilinear")[0]
    matched = torch.zeros_like(pixels)
    for region in range(content.regions.count):
        for channel in range(3):
            curve = _curve(present[region, channel], wanted[region, channel])
            matched[0, channel] += share[region] * _apply(curve, pixels[0, channel])
    return matched.clamp(0, 1)


def _lab_to_any_rgb(lab: Tensor) -> Tensor:
    """Convert without regard to the gamut: the result may leave [0, 1]."""
    lightness, a, b = lab.unbind(dim=1)
    y = (lightness + 16) / 116
    root = torch.stack([y + a / 500, y, y - b / 200], dim=1)
    xyz = torch.where(root**3 > _EPSILON, root**3, (116 * root - 16) / _KAPPA)
    matrix = torch.tensor(_TO_XYZ, dtype=torch.float64)
    inverse = torch.linalg.inv(matrix / matrix.sum(dim=1, keepdim=True)).float()
    linear = torch.einsum("ij,bjhw->bihw", inverse, xyz)
    return torch.where(
        linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp(min=1e-8) ** (1 / 2.4) - 0.055
    )


def _less_chroma(lab: Tensor) -> Tensor:
    """Find by bisection the largest share of each colour's chroma that sRGB can show."""
    low = torch.zeros_like(lab[:, :1])
    high = torch.ones_like(low)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        rgb = _lab_to_any_rgb(torch.cat([lab[:, :1], lab[:, 1:] * middle], dim=1))
        inside = ((rgb >= 0) & (rgb <= 1)).all(dim=1, keepdim=True)
        low = torch.where(inside, middle, low)
        high = torch.where(inside, high, middle)
    return _lab_to_any_rgb(torch.cat([lab[:, :1], lab[:, 1:] * low], dim=1)).clamp(0, 1)


def _region_histograms(picture: Picture, regions: RegionMap) -> NDArray[np.float64]:
    """Count (R, 3, LEVELS): how much of each level every region holds, as shares of the image.

    Transparent pixels count as far as they are seen.
    """
    labels = F.interpolate(regions.labels[None, None].float(), picture.size, mode="nearest-exact")
    flat = labels.long().flatten().numpy()
    seen = None if picture.alpha is None else picture.alpha.flatten().double().numpy()
    levels = (picture.pixels[0] * (LEVELS - 1)).round().long().flatten(1).numpy()
    size = regions.count * LEVELS
    counts = [np.bincount(flat * LEVELS + one, seen, size).reshape(-1, LEVELS) for one in levels]
    return np.stack(counts, axis=1) / flat.size


def _curve(present: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the value in [0, 1] that each of LEVELS levels becomes.

    A level stands for the values that round to it, spread evenly, and goes by its middle rank:
    equal histograms give the identity, and a gap in the wanted one is jumped, not filled.
    """
    levels = np.arange(LEVELS)
    if present.sum() <= 0 or wanted.sum() <= 0:
        return levels / (LEVELS - 1)
    (held,), (given,) = present.nonzero(), wanted.nonzero()
    middle = (present.cumsum() - present / 2)[held] / present.sum()
    upper = wanted.cumsum()[given] / wanted.sum()
    ranks = np.stack([np.append(0.0, upper[:-1]), upper], axis=1).ravel()
    values = np.stack([given - 0.5, given + 0.5], axis=1).ravel()
    became = np.interp(middle, ranks, values).clip(0, LEVELS - 1) / (LEVELS - 1)
    curve: NDArray[np.float64] = np.interp(levels, held, became)
    return curve


def _apply(curve: NDArray[np.float64], plane: Tensor) -> Tensor:
    """Look (h, w) values in [0, 1] up in a curve, with values between its levels."""
    place = plane.clamp(0, 1) * (LEVELS - 1)
    below = place.floor().long().clamp(max=LEVELS - 2)
    table = torch.from_numpy(curve).float()
    return torch.lerp(table[below], table[below + 1], place - below)
