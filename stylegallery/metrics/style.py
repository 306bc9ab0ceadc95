"""Style metrics: distances of textures, blocks and colors between a result and its references.

Each distance takes masks, to compare single regions.
"""

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn import functional as F

from stylegallery.images.codec import resize
from stylegallery.models.lite0 import STRIDES, lite0_deeper, lite0_features

_BLOCKS = 4
_LEAST_SHARE = 0.25
"""Share of a block that a mask must cover for the block to count."""
_HISTOGRAM_SIDE, _BINS, _REACH, _FALL_OFF = 150, 64, 3.0, 0.02
"""As published: short side in pixels, number of bins, largest log chroma, fall-off."""
_EPSILON = 1e-6
_STRIP = 512
"""Rows of a picture that the first layers see at a time."""
_BEYOND = 32
"""Rows beyond a strip that the first layers see; their receptive field has 19 rows."""


@dataclass(frozen=True)
class StyleFeatures:
    """Features of one picture that the style distances compare.

    Attributes:
        colors: (1, 3, H, W) in [0, 1], a small copy for histograms.
        depths: (1, C, h, w) each: features of EfficientNet-Lite0 at strides 4, 8, 16 and 32.
    """

    colors: Tensor
    depths: list[Tensor]


@torch.no_grad()
def style_features(net: nn.Module, pixels: Tensor) -> StyleFeatures:
    """Compute the style features of a picture, for any number of comparisons.

    Args:
        net: Result of :func:`stylegallery.models.lite0.load_lite0`.
        pixels: (1, 3, H, W) in [0, 1].
    """
    scale = min(1.0, _HISTOGRAM_SIDE / min(pixels.shape[-2:]))
    height, width = (max(1, round(side * scale)) for side in pixels.shape[-2:])
    return StyleFeatures(resize(pixels, (height, width)), _tiled_features(net, pixels))


def gram_distance(
    image: StyleFeatures,
    reference: StyleFeatures,
    mask: Tensor | None = None,
    reference_mask: Tensor | None = None,
) -> float:
    """Return the distance of two pictures' Gram matrices; 0 for equal textures.

    The mean over four depths of EfficientNet-Lite0 of ``||G - G_ref|| / ||G_ref||`` (Frobenius
    norm), where G is the mean over all cells of the outer product of features (Gatys et al., arXiv
    1508.06576). Not comparable with Gram distances on VGG.

    Args:
        image: Features of a picture.
        reference: Features of a reference of the same scale.
        mask: (h, w) bool at any size, the part of the picture to compare; None for all.
        reference_mask: The same for the reference.
    """
    pairs = zip(_grams(image, mask), _grams(reference, reference_mask), strict=True)
    return float(torch.stack([(a - b).norm() / b.norm() for a, b in pairs]).mean())


def patch_distance(
    image: StyleFeatures,
    reference: StyleFeatures,
    mask: Tensor | None = None,
    reference_mask: Tensor | None = None,
) -> float | None:
    """Return the mean distance of blocks of two pictures under the best assignment, in [0, 2].

    The metric "Style" of StyleGallery (arXiv 2603.10354, section 4.1) on another network: features
    are averaged in 4 x 4 blocks at each depth, and blocks are compared by cosine similarity and
    assigned by the Hungarian algorithm. The distance is one minus the mean similarity of the
    assigned blocks.

    Args:
        image: Features of a picture.
        reference: Features of a reference of the same scale.
        mask: (h, w) bool at any size, the part of the picture to compare; None for all. A block
            counts if the mask covers a quarter of it.
        reference_mask: The same for the reference.

    Returns:
        The distance; None if a mask covers a quarter of no block.
    """
    one, two = _block_means(image, mask), _block_means(reference, reference_mask)
    if not len(one) or not len(two):
        return None
    similarity = (one @ two.T).numpy()
    partners = linear_sum_assignment(similarity, maximize=True)
    return float(1 - similarity[partners].mean())


def color_distance(
    image: StyleFeatures,
    reference: StyleFeatures,
    mask: Tensor | None = None,
    reference_mask: Tensor | None = None,
) -> float:
    """Return the Hellinger distance of two pictures' color histograms, from 0 (equal) to 1.

    Histograms are RGB-uv histograms (HistoGAN, Afifi et al., arXiv 2011.11731, equations 1 to 4):
    log chroma in 64 bins with an inverse quadratic fall-off of 0.02, weighted by intensity.

    Args:
        image: Features of a picture.
        reference: Features of a reference.
        mask: (h, w) bool at any size, the part of the picture to compare; None for all.
        reference_mask: The same for the reference.
    """
    one = _uv_histogram(image.colors, mask)
    two = _uv_histogram(reference.colors, reference_mask)
    return float((one.sqrt() - two.sqrt()).norm() / 2**0.5)


def _tiled_features(net: nn.Module, pixels: Tensor) -> list[Tensor]:
    """Return the features of a picture of any size in bounded memory.

    The first layers, whose features are largest, see the picture in strips of rows that overlap by
    more than their receptive field. The features are those of the whole picture.
    """
    first_block, stride = next(iter(STRIDES.items()))
    height, parts = pixels.shape[-2], []
    for top in range(0, height, _STRIP):
        bottom = min(top + _STRIP, height)
        above = max(top - _BEYOND, 0)
        below = bottom + _BEYOND
        # The network pads by the parity of its input, so strips are as odd or even as the whole.
        below = min(below + (height - below) % stride, height)
        strip = lite0_features(net, pixels[..., above:below, :], (first_block,))[0]
        skipped, rows = (top - above) // stride, -(-(bottom - top) // stride)
        parts.append(strip[..., skipped : skipped + rows, :])
    return lite0_deeper(net, torch.cat(parts, dim=2))


def _grams(features: StyleFeatures, mask: Tensor | None) -> list[Tensor]:
    grams = []
    for depth in features.depths:
        cells = depth[0].flatten(1)
        share = _shares(mask, depth.shape[-2:]).flatten()
        weights = share / share.sum().clamp(min=1e-12)
        grams.append((cells * weights) @ cells.T)
    return grams


def _block_means(features: StyleFeatures, mask: Tensor | None) -> Tensor:
    """Return (n, D) features, of unit length, of the blocks that the mask covers by a quarter."""
    parts = []
    for depth in features.depths:
        share = _shares(mask, depth.shape[-2:])[None, None]
        covered = F.adaptive_avg_pool2d(share, _BLOCKS)
        means = F.adaptive_avg_pool2d(depth * share, _BLOCKS) / covered.clamp(min=1e-12)
        parts.append(F.normalize(means, dim=1)[0].flatten(1).T)
    kept = F.adaptive_avg_pool2d(_shares(mask, (64, 64))[None, None], _BLOCKS).flatten()
    return F.normalize(torch.cat(parts, dim=1), dim=1)[kept >= _LEAST_SHARE]


def _uv_histogram(pixels: Tensor, mask: Tensor | None) -> Tensor:
    """Return a (3, 64, 64) histogram whose sum is 1."""
    share = _shares(mask, pixels.shape[-2:]).flatten()
    colors, share = pixels[0].flatten(1)[:, share > 0], share[share > 0]
    weights = colors.square().sum(0).sqrt() * share
    logs = (colors + _EPSILON).log()
    centers = torch.linspace(-_REACH, _REACH, _BINS)
    planes = []
    for channel, (first, second) in enumerate(((1, 2), (0, 2), (0, 1))):
        falls = [
            1 / (1 + ((logs[channel] - logs[other])[:, None] - centers).square() / _FALL_OFF**2)
            for other in (first, second)
        ]
        planes.append((falls[0] * weights[:, None]).T @ falls[1])
    histogram = torch.stack(planes)
    return histogram / histogram.sum().clamp(min=1e-12)


def _shares(mask: Tensor | None, size: tuple[int, ...]) -> Tensor:
    """Return the (h, w) share of each cell of a grid that a mask covers."""
    if mask is None:
        return torch.ones(size)
    return F.interpolate(mask[None, None].float(), size, mode="area")[0, 0]
