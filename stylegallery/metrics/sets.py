"""Metrics of sets of pictures, and confidence intervals of metrics."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from schemas.evaluation import ConfidenceInterval
from stylegallery.models.lite0 import lite0_features

Vectors = NDArray[np.float64]

_DEEPEST = (14,)
_BLOCKS = 4
_RESAMPLED, _MANY = 1000, 2000
_LEVEL = 0.95
_NORMAL = 1.959964  # half the width of that interval, in standard deviations


@torch.no_grad()
def block_vectors(net: nn.Module, pixels: Tensor) -> Tensor:
    """Return the (16, 192) vectors of a picture for :func:`frechet_distance`.

    Means of EfficientNet-Lite0's last features (stride 32) in 4 x 4 blocks, normalized to unit
    length. Blocks instead of whole pictures, because a gallery has too few references to estimate a
    covariance from one vector each.

    Args:
        net: Result of :func:`stylegallery.models.lite0.load_lite0`.
        pixels: (1, 3, H, W) in [0, 1].
    """
    deepest = lite0_features(net, pixels, _DEEPEST)[0]
    return F.normalize(F.adaptive_avg_pool2d(deepest, _BLOCKS)[0].flatten(1).T, dim=1)


def frechet_distance(one: Vectors, other: Vectors) -> float:
    """Return the Fréchet distance of two sets of vectors, modeled as Gaussians, at least 0.

    ``|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))`` (Dowson and Landau, 1982; Heusel et al.,
    arXiv 1706.08500). It is FID only for vectors of an Inception network.

    Args:
        one: (N, D).
        other: (M, D).
    """
    means, roots, traces = [], [], []
    for vectors in (one, other):
        means.append(vectors.mean(axis=0))
        centered = vectors - means[-1]
        # With C1 = A A^T and C2 = B B^T, the singular values of A^T B are the square roots of the
        # eigenvalues of C1 C2. This avoids the square root of a matrix that is not symmetric.
        scaled = centered.T / np.sqrt(max(len(vectors) - 1, 1))
        roots.append(np.asarray(np.linalg.qr(scaled.T, mode="r")).T)
        traces.append(float((scaled**2).sum()))
    shared = float(np.linalg.svd(roots[0].T @ roots[1], compute_uv=False).sum())
    gap = float(((means[0] - means[1]) ** 2).sum())
    return max(gap + traces[0] + traces[1] - 2 * shared, 0.0)


def mean_interval(values: Vectors, seed: int = 0) -> ConfidenceInterval:
    """Return the mean of values and its 95 % confidence interval.

    Percentile bootstrap with 1,000 samples (Efron, 1979); above 2,000 values the normal
    approximation, which agrees with it.

    Args:
        values: (N,), at least one value.
        seed: Seed of the bootstrap samples.
    """
    count, mean = len(values), float(values.mean())
    if count > _MANY:
        half = _NORMAL * float(values.std(ddof=1)) / count**0.5
        return _interval(mean, mean - half, mean + half, count)
    draws = np.random.default_rng(seed).integers(0, count, (_RESAMPLED, count))
    return _interval(mean, *_ends(values[draws].mean(axis=1)), count)


def frechet_interval(
    pictures: Vectors, references: Vectors, seed: int = 0, samples: int = 200
) -> ConfidenceInterval:
    """Return the Fréchet distance of pictures to references and its 95 % confidence interval.

    The bootstrap resamples pictures, with all their blocks, and keeps the references. Repeated
    pictures in a sample increase the distance, so the interval is shifted back by this bias.

    Args:
        pictures: (N, B, D), B vectors per picture.
        references: (M, B, D).
        seed: Seed of the bootstrap samples.
        samples: Number of bootstrap samples.
    """
    count, width = len(pictures), pictures.shape[-1]
    fixed = references.reshape(-1, width)
    value = frechet_distance(pictures.reshape(-1, width), fixed)
    dice = np.random.default_rng(seed)
    drawn = np.array(
        [
            frechet_distance(pictures[dice.integers(0, count, count)].reshape(-1, width), fixed)
            for _ in range(samples)
        ]
    )
    low, high = _ends(drawn - (drawn.mean() - value))
    return _interval(value, max(low, 0.0), high, count)


def art_product(content_distance: float, style_distance: float) -> float:
    """Return ``(1 + content distance) (1 + style distance)``, at least 1; lower is better.

    The formula of ArtFID (Wright and Ommer, arXiv 2207.12280, equation 5). The result is ArtFID
    only for LPIPS and the FID of an Inception network trained on art.
    """
    return (1 + content_distance) * (1 + style_distance)


def _interval(value: float, low: float, high: float, count: int) -> ConfidenceInterval:
    return ConfidenceInterval(value=value, low=low, high=high, count=count)


def _ends(drawn: Vectors) -> tuple[float, float]:
    low, high = np.quantile(drawn, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)
