"""Region maps: the region of each cell of the latent grid."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

_SMOOTHING = 3
"""Cells over which values of neighboring regions blend."""


@dataclass(frozen=True, eq=False)
class RegionMap:
    """A region label for every cell; labels run from 0 without gaps.

    Attributes:
        labels: (h, w) int64 on the CPU; every label from 0 to R - 1 occurs.
    """

    labels: Tensor

    def __post_init__(self) -> None:
        """Refuse labels with gaps.

        Raises:
            ValueError: the labels are not exactly 0 to R - 1.
        """
        found = self.labels.unique()
        if not torch.equal(found, torch.arange(len(found))):
            raise ValueError(f"region labels must run from 0 without gaps, got {found.tolist()}")

    @classmethod
    def whole(cls, size: tuple[int, int]) -> "RegionMap":
        """Return a map of (h, w) cells with a single region."""
        return cls(torch.zeros(size, dtype=torch.int64))

    @classmethod
    def numbered(cls, labels: Tensor) -> "RegionMap":
        """Renumber arbitrary labels (h, w) from 0 in order of first appearance (reading order)."""
        flat = labels.flatten()
        values, inverse = flat.unique(return_inverse=True)
        first = torch.full((len(values),), flat.numel()).scatter_reduce(
            0, inverse, torch.arange(flat.numel()), "amin"
        )
        rank = first.argsort().argsort()
        return cls(rank[inverse].reshape(labels.shape))

    @cached_property
    def count(self) -> int:
        """Number of regions R."""
        return int(self.labels.max()) + 1

    @cached_property
    def one_hot(self) -> Tensor:
        """(R, h, w) float32 masks of 0 and 1."""
        return F.one_hot(self.labels, self.count).permute(2, 0, 1).float()

    @cached_property
    def areas(self) -> Tensor:
        """(R,) share of the image that each region covers; the sum is 1."""
        return self.one_hot.mean(dim=(1, 2))

    def resized(self, size: tuple[int, int]) -> Tensor:
        """Return labels (h', w') int64 on another grid; each cell takes its largest region.

        Nearest-neighbor resizing, as in the published code, drops thin regions; here every region
        keeps at least the cell that it covers most.
        """
        return majority_labels(self.one_hot, size)

    def field(self, values: Tensor, size: tuple[int, int]) -> Tensor:
        """Return (K, H, W) of values (R, K) by region, which blend over a few cells at borders."""
        padded = F.pad(self.one_hot[None], (_SMOOTHING // 2,) * 4, mode="replicate")
        shares = F.avg_pool2d(padded, _SMOOTHING, stride=1)[0]  # their sum stays one
        cells = torch.einsum("rk,rhw->khw", values, shares)
        return F.interpolate(cells[None], size, mode="bilinear")[0]

    def cropped(self, rows: slice, columns: slice) -> "RegionMap":
        """Return the map of a part of the image, with the numbers of the whole."""
        return _RegionCrop(self.labels[rows, columns], self.count)

    def to_array(self) -> NDArray[np.uint8]:
        """Return the labels as an (h, w) uint8 array, for image files."""
        return self.labels.cpu().numpy().astype(np.uint8)


@dataclass(frozen=True, eq=False)
class _RegionCrop(RegionMap):
    """A part of a region map; some of the whole map's regions may not occur in it."""

    whole_count: int

    def __post_init__(self) -> None:
        """Accept gaps."""

    @cached_property
    def count(self) -> int:
        return self.whole_count


def majority_labels(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Reduce masks to labels on a grid; each cell takes the mask that covers most of it.

    Args:
        masks: (R, H, W) float masks of 0 and 1; a pixel may be in no mask.
        size: (h, w) of the grid.

    Returns:
        (h, w) int64. Each non-empty mask keeps at least one cell, as long as there are cells left.
    """
    share = F.adaptive_avg_pool2d(masks[None], size)[0]
    labels = share.argmax(dim=0)
    taken = torch.zeros(size, dtype=torch.bool)
    for region in range(len(masks)):
        if (labels == region).any() or not masks[region].any() or taken.all():
            continue
        best = share[region].masked_fill(taken, -1.0).argmax()
        taken.view(-1)[best] = True
        labels.view(-1)[best] = region
    return labels
