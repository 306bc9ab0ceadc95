"""Figures that say how close a result is to its reference in style and to its content in form."""

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.filters import gaussian, sobel
from skimage.metrics import structural_similarity
from torch import Tensor, nn
from torch.nn import functional as F

from stylegallery.lite0 import STRIDES, lite0_features

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


@torch.no_grad()
def gram_distance(
    net: nn.Module,
    image: Tensor,
    reference: Tensor,
    mask: Tensor | None = None,
    reference_mask: Tensor | None = None,
) -> float:
    """Return how far two pictures' Gram matrices lie apart, 0 for the same texture.

    The mean over four depths of EfficientNet-Lite0 of ``||G - G_ref|| / ||G_ref||`` (Frobenius),
    G the mean over all cells of the outer product of features (Gatys et al., arXiv 1508.06576).
    Not comparable to Gram distances over VGG.

    Args:
        net: From :func:`stylegallery.lite0.load_lite0`.
        image: (1, 3, H, W) in [0, 1].
        reference: (1, 3, H', W') in [0, 1], at the same scale of pixels.
        mask: (h, w) bool at any size, cells of the image to look at; None for all.
        reference_mask: The same for the reference.
    """
    pairs = zip(_grams(net, image, mask), _grams(net, reference, reference_mask), strict=True)
    return float(torch.stack([(a - b).norm() / b.norm() for a, b in pairs]).mean())


def luminance_ssim(image: Tensor, content: Tensor) -> float:
    """Return the structural similarity of two pictures' luminance, at most 1.

    Args:
        image: (1, 3, H, W) in [0, 1].
        content: The same shape.
    """
    one, two = (_luminance(picture) for picture in (image, content))
    return float(structural_similarity(one, two, data_range=1.0))


def psnr(image: Tensor, target: Tensor) -> float:
    """Return the peak signal-to-noise ratio in dB of pictures of one shape in [0, 1]."""
    error = (image - target).square().mean().clamp(min=1e-10)
    return float(-10 * error.log10())


def edge_agreement(image: Tensor, content: Tensor) -> float:
    """Return how well the outlines of two pictures lie on each other, in [-1, 1].

    The correlation of the Sobel magnitudes of their luminance, smoothed by a pixel, so that
    outlines count and grain does not. A shift of a few pixels shows.

    Args:
        image: (1, 3, H, W) in [0, 1].
        content: The same shape.
    """
    edges = [sobel(gaussian(_luminance(picture), sigma=1)) for picture in (image, content)]
    return float(np.corrcoef(edges[0].ravel(), edges[1].ravel())[0, 1])


def _grams(net: nn.Module, picture: Tensor, mask: Tensor | None) -> list[Tensor]:
    grams = []
    for features in lite0_features(net, picture, tuple(STRIDES)):
        cells = features[0].flatten(1)
        share = torch.ones(cells.shape[1])
        if mask is not None:
            fine = F.interpolate(mask[None, None].float(), features.shape[-2:], mode="area")
            share = fine.flatten()
        weights = share / share.sum().clamp(min=1e-12)
        grams.append((cells * weights) @ cells.T)
    return grams


def _luminance(picture: Tensor) -> NDArray[np.float32]:
    weights = torch.tensor(_LUMA).view(3, 1, 1)
    luminance: NDArray[np.float32] = (picture[0].cpu() * weights).sum(0).numpy()
    return luminance
