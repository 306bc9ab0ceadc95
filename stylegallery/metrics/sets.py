"""Figures of many pictures at once, and how sure one may be of a figure."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from stylegallery.models.lite0 import lite0_features

Vectors = NDArray[np.float64]

_DEEPEST = (14,)
_BLOCKS = 4
_RESAMPLED, _MANY = 1000, 2000
_LEVEL = 0.95
_NORMAL = 1.959964


@dataclass(frozen=True)
class Interval:
    """A figure and where it lies with a confidence of 95 %.

    Attributes:
        value: The figure.
        low: Lower end.
        high: Upper end.
        count: How many pictures it is of.
    """

    value: float
    low: float
    high: float
    count: int


@torch.no_grad()
def block_vectors(net: nn.Module, pixels: Tensor) -> Tensor:
    """Return (16, 192) vectors of a picture for :func:`frechet_distance`.

    Means of EfficientNet-Lite0's last features of stride 32 over 4 x 4 blocks, brought to unit
    length, so that their distance is a small number. Blocks, not whole pictures: a gallery holds a
    handful of references, too few to have a covariance.

    Args:
        net: From :func:`stylegallery.models.lite0.load_lite0`.
        pixels: (1, 3, H, W) in [0, 1].
    """
    deepest = lite0_features(net, pixels, _DEEPEST)[0]
    return F.normalize(F.adaptive_avg_pool2d(deepest, _BLOCKS)[0].flatten(1).T, dim=1)


def frechet_distance(one: Vectors, other: Vectors) -> float:
    """Return the Frechet distance of two sets of vectors taken for Gaussians, at least 0.

    ``|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))`` (Dowson and Landau, 1982; Heusel et al.,
    arXiv 1706.08500). What it is called is up to the encoder of the vectors: over anything but an
    Inception network it is no FID.

    Args:
        one: (N, D).
        other: (M, D).
    """
    means, roots, traces = [], [], []
    for vectors in (one, other):
        means.append(vectors.mean(axis=0))
        centred = vectors - means[-1]
        # The singular values of A^T B are the square roots of the eigenvalues of C1 C2 when
        # C1 = A A^T and C2 = B B^T: no square root of a matrix that is no longer symmetric.
        scaled = centred.T / np.sqrt(max(len(vectors) - 1, 1))
        roots.append(np.asarray(np.linalg.qr(scaled.T, mode="r")).T)
        traces.append(float((scaled**2).sum()))
    shared = float(np.linalg.svd(roots[0].T @ roots[1], compute_uv=False).sum())
    gap = float(((means[0] - means[1]) ** 2).sum())
    return max(gap + traces[0] + traces[1] - 2 * shared, 0.0)


def mean_interval(values: Vectors, seed: int = 0) -> Interval:
    """Return the mean of some figures and its interval.

    Percentile bootstrap over 1,000 samples (Efron, 1979); the normal approximation above 2,000
    figures, where both agree.

    Args:
        values: (N,), at least one.
        seed: Of the samples.
    """
    count, mean = len(values), float(values.mean())
    if count > _MANY:
        half = _NORMAL * float(values.std(ddof=1)) / count**0.5
        return Interval(mean, mean - half, mean + half, count)
    draws = np.random.default_rng(seed).integers(0, count, (_RESAMPLED, count))
    return Interval(mean, *_ends(values[draws].mean(axis=1)), count)


def frechet_interval(
    pictures: Vectors, references: Vectors, seed: int = 0, samples: int = 200
) -> Interval:
    """Return the Frechet distance of a set of pictures to its references, and its interval.

    Pictures are drawn anew, with all their blocks; the references stay. A drawn set holds some
    pictures twice, which alone lengthens the distance: the interval is moved back by as much.

    Args:
        pictures: (N, B, D) vectors of B blocks each.
        references: (M, B, D).
        seed: Of the samples.
        samples: How many.
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
    return Interval(value, max(low, 0.0), high, count)


def art_product(content_distance: float, style_distance: float) -> float:
    """Return ``(1 + content distance) (1 + style distance)``, at least 1; lower is better.

    The form of ArtFID (Wright and Ommer, arXiv 2207.12280, eq. 5); its name belongs to LPIPS and an
    Inception network trained on art.
    """
    return (1 + content_distance) * (1 + style_distance)


def _ends(drawn: Vectors) -> tuple[float, float]:
    low, high = np.quantile(drawn, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)
