"""Histogram matching: give each region the color histogram of the regions that it is routed to."""

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


def match_histogram(
    pixels: Tensor, content: PreparedImage, styles: list[PreparedImage], routing: Correspondence
) -> Tensor:
    """Match each region's histogram, channel by channel, to that of the regions it is routed to.

    Each reference pixel is weighted by its region's routing weight, so reference weights, pins and
    fallbacks apply here too. A region without references keeps its colors. Regions blend into each
    other over about one latent cell, so that no seams show.

    Args:
        pixels: (1, 3, h, w) in [0, 1], the result at any size.
        content: The image that was restyled.
        styles: The references of `routing`, in the same order.
        routing: Routing weights of content regions and reference regions.

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


def _region_histograms(picture: Picture, regions: RegionMap) -> NDArray[np.float64]:
    """Return (R, 3, LEVELS) histograms of all regions, as shares of the image.

    Pixels are weighted by their alpha.
    """
    labels = F.interpolate(regions.labels[None, None].float(), picture.size, mode="nearest-exact")
    flat = labels.long().flatten().numpy()
    seen = None if picture.alpha is None else picture.alpha.flatten().double().numpy()
    levels = (picture.pixels[0] * (LEVELS - 1)).round().long().flatten(1).numpy()
    size = regions.count * LEVELS
    counts = [np.bincount(flat * LEVELS + one, seen, size).reshape(-1, LEVELS) for one in levels]
    return np.stack(counts, axis=1) / flat.size


def _curve(present: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the new value in [0, 1] of each of LEVELS levels.

    A level stands for the values that round to it, spread evenly, and is mapped by its middle rank.
    So equal histograms give the identity, and gaps in the wanted histogram stay empty.
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
    """Map (h, w) values in [0, 1] by a curve, interpolated between its levels."""
    place = plane.clamp(0, 1) * (LEVELS - 1)
    below = place.floor().long().clamp(max=LEVELS - 2)
    table = torch.from_numpy(curve).float()
    return torch.lerp(table[below], table[below + 1], place - below)
