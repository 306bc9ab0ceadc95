"""Content metrics: how much a result keeps of its original."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion
from skimage.filters import gaussian, sobel
from skimage.metrics import structural_similarity
from torch import Tensor
from torch.nn import functional as F

from stylegallery.color.lab import luminance

_SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Weights of MS-SSIM's scales, as published."""
_MS_WINDOW = 11
_WINDOW = 7
"""Side of SSIM's window, scikit-image's default."""


def luminance_ssim(image: Tensor, content: Tensor) -> float:
    """Return the structural similarity (SSIM) of two pictures' luminance, at most 1.

    Wang et al., "Image quality assessment: from error visibility to structural similarity", IEEE
    TIP 13(4), 2004; computed by scikit-image.

    Args:
        image: (1, 3, H, W) in [0, 1].
        content: Same shape and range.
    """
    one, two = (_luminance(picture) for picture in (image, content))
    return float(structural_similarity(one, two, data_range=1.0))


def luminance_ms_ssim(image: Tensor, content: Tensor) -> float:
    """Return the multi-scale structural similarity (MS-SSIM) of luminance, at most 1.

    Wang et al., "Multiscale structural similarity for image quality assessment", Asilomar 2003;
    computed by torchmetrics on the published five scales. Fewer scales fit into pictures whose
    short side is below 176 px; the weights of those that fit are rescaled to sum to 1.

    Args:
        image: (1, 3, H, W) in [0, 1].
        content: Same shape and range.

    Returns:
        The similarity; NaN if the picture is smaller than one window.
    """
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    count = _scales_within(min(image.shape[-2:]))
    if not count:
        return math.nan
    total = sum(_SCALES[:count])
    one, two = (torch.from_numpy(_luminance(p))[None, None] for p in (image, content))
    return float(
        multiscale_structural_similarity_index_measure(
            one,
            two,
            kernel_size=_MS_WINDOW,
            data_range=1.0,
            betas=tuple(weight / total for weight in _SCALES[:count]),
            normalize="relu",
        )
    )


def edge_agreement(image: Tensor, content: Tensor) -> float:
    """Return how well the edges of two pictures coincide, in [-1, 1].

    The correlation of the Sobel magnitudes of luminance, after a Gaussian blur of one pixel that
    removes grain. It drops when edges move by a few pixels.

    Args:
        image: (1, 3, H, W) in [0, 1].
        content: Same shape and range.
    """
    edges = [sobel(gaussian(_luminance(picture), sigma=1)) for picture in (image, content)]
    return float(np.corrcoef(edges[0].ravel(), edges[1].ravel())[0, 1])


def structure_distance(features: Tensor, content_features: Tensor) -> float:
    """Return how much the structure of two pictures differs, from 0 (equal) to 4.

    The mean squared difference of the self-similarity matrices of their semantic features (Splice,
    Tumanyan et al., arXiv 2201.00424, with another encoder). It depends on which parts belong
    together, and hardly on their colors.

    Args:
        features: (1, D, h, w) of a :class:`stylegallery.models.semantic.SemanticEncoder`.
        content_features: Same shape.
    """
    similarities = []
    for one in (features, content_features):
        cells = F.normalize(one[0].flatten(1).T.float(), dim=1)
        similarities.append(cells @ cells.T)
    return float((similarities[0] - similarities[1]).square().mean())


def protected_difference(image: Tensor, content: Tensor, protection: Tensor) -> float | None:
    """Return the largest change of a protected pixel, in steps of 8 bits.

    Args:
        image: (1, 3, H, W) in [0, 1].
        content: Same shape and range.
        protection: (1, 1, H, W) in [0, 1]; only pixels of exactly 1 are protected.

    Returns:
        The change, 0 to 255; None if no pixel is fully protected.
    """
    inside = (protection[0, 0] == 1).expand_as(image[0])
    if not inside.any():
        return None
    change = (image[0] - content[0])[inside].abs().max()
    return float((change * 255).round())


def protected_ssim(image: Tensor, content: Tensor, protection: Tensor) -> float | None:
    """Return the structural similarity (SSIM) of luminance in the protected area, at most 1.

    The mean over all pixels whose SSIM window lies in the protected area.

    Args:
        image: (1, 3, H, W) in [0, 1].
        content: Same shape and range.
        protection: (1, 1, H, W) in [0, 1]; only pixels of exactly 1 are protected.

    Returns:
        The similarity; None if the protected area contains no whole window.
    """
    inside = binary_erosion((protection[0, 0] == 1).numpy(), np.ones((_WINDOW, _WINDOW)))
    if not inside.any():
        return None
    one, two = (_luminance(picture) for picture in (image, content))
    _, full = structural_similarity(one, two, data_range=1.0, full=True, win_size=_WINDOW)
    return float(full[inside].mean())


def psnr(image: Tensor, target: Tensor) -> float:
    """Return the peak signal-to-noise ratio in dB of two tensors of one shape in [0, 1]."""
    error = (image - target).square().mean().clamp(min=1e-10)
    return float(-10 * error.log10())


def _scales_within(side: int) -> int:
    """Return how many scales fit into a side; each halves it, and torchmetrics limits it more."""
    fits = (
        n
        for n in range(len(_SCALES), 0, -1)
        if min(side >> (n - 1), side // max(1, n - 1) ** 2) >= _MS_WINDOW
    )
    return next(fits, 0)


def _luminance(picture: Tensor) -> NDArray[np.float32]:
    light: NDArray[np.float32] = luminance(picture[0].cpu()).numpy()
    return light
