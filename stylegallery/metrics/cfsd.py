"""CFSD: how much the self-similarity of a picture's content features changes.

The metric needs VGG19 as trained by its authors (arXiv 1409.1556), from a weight file of the user.
"""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from stylegallery.errors import ModelNotFound
from stylegallery.images.codec import to_short_side
from stylegallery.metrics.external import read_weights

_CONVOLUTIONS = (0, 2, 5, 7, 10)
"""Convolutions of VGG19 up to relu3_1, by their number in torchvision's `features`."""
_POOLED_BEFORE = (5, 10)
_SIDE = 512
_ROWS = 1024
"""Rows of the self-similarity matrix at a time; the whole one would take a gigabyte."""
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Cfsd:
    """Content feature structural distance (StyleID, Chung et al., arXiv 2312.09008)."""

    def __init__(self, weights: str | Path) -> None:
        """Load the first five convolutions of VGG19.

        Args:
            weights: torchvision's weights of VGG19, `vgg19-dcbb9e9d.pth`.

        Raises:
            ModelNotFound: the file is missing or not VGG19.
        """
        found = read_weights(weights, "VGG19", "torchvision's vgg19-dcbb9e9d.pth")
        try:
            self._weights = [
                (found[f"features.{n}.weight"], found[f"features.{n}.bias"]) for n in _CONVOLUTIONS
            ]
        except KeyError as error:
            raise ModelNotFound(f"{weights} holds no VGG19: {error} is missing.") from error
        self._mean, self._std = (torch.tensor(v).view(1, 3, 1, 1) for v in (_MEAN, _STD))

    @torch.no_grad()
    def __call__(self, image: Tensor, content: Tensor) -> float:
        """Return the distance of two pictures (1, 3, H, W) in [0, 1]; 0 if they are equal."""
        one, two = (self._features(to_short_side(p, _SIDE)) for p in (content, image))
        return similarity_divergence(one, two)

    def _features(self, pixels: Tensor) -> Tensor:
        hidden = (pixels - self._mean) / self._std
        for number, (weight, bias) in zip(_CONVOLUTIONS, self._weights, strict=True):
            if number in _POOLED_BEFORE:
                hidden = F.max_pool2d(hidden, 2)
            hidden = F.relu(F.conv2d(hidden, weight, bias, padding=1))
        return hidden[0].flatten(1).T


def similarity_divergence(content: Tensor, image: Tensor, rows: int = _ROWS) -> float:
    """Return how far the self-similarity of one set of tokens is from that of another, at least 0.

    The Kullback-Leibler divergence of the softmax of similarities, summed over all rows. The first
    set is the one whose distribution is true, so the divergence is not symmetric.

    Args:
        content: (N, C) features of the original; they are divided by C.
        image: Same shape, features of the result.
        rows: Number of rows of the (N, N) matrices that are computed at a time.
    """
    one, two = (tokens / tokens.shape[1] for tokens in (content, image))
    total = 0.0
    for first in range(0, len(one), rows):
        part = slice(first, first + rows)
        true, found = (
            F.log_softmax(tokens[part] @ tokens.T, dim=1).double() for tokens in (one, two)
        )
        total += float((true.exp() * (true - found)).sum())
    return total
