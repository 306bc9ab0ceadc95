"""Cluster feature tokens into regions, merge similar regions, and split regions by depth.

`labels` are integers of shape (h, w) or (N,); returned labels are int64 of the same shape. `depth`
is (h, w) or (N,) in [0, 1], from :mod:`stylegallery.models.depth`.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components as linked
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score
from sklearn.metrics.pairwise import euclidean_distances
from threadpoolctl import threadpool_limits
from torch import Tensor

COMPONENTS = 60
DEPTH_SPAN, DEPTH_LOCK = 0.75, 0.3
"""As published: a region whose depths span `DEPTH_SPAN` is split, and two regions whose mean depths
differ by `DEPTH_LOCK` do not merge."""
_RESTARTS = 4
_SILHOUETTE_SAMPLE = 1500
_SEED = 42
_FEWEST_CELLS_TO_SPLIT = 20
_ROUNDS, _TOLERANCE = 64, 1e-4


def principal_components(tokens: Tensor, components: int = COMPONENTS) -> Tensor:
    """Standardize tokens (N, C) per channel and project them on their principal components.

    Returns:
        (N, min(C, N, components)) float32.
    """
    standard = (tokens - tokens.mean(dim=0)) / (tokens.std(dim=0) + 1e-6)
    left, scale, _ = torch.linalg.svd(standard, full_matrices=False)
    projected: Tensor = left[:, :components] * scale[:components]
    return projected


def cluster(tokens: Tensor, max_clusters: int) -> Tensor:
    """Cluster tokens (N, D) by k-means; the silhouette score chooses k from 2 to `max_clusters`.

    One thread and a fixed seed make the labels reproducible.

    Returns:
        (N,) int64 labels.
    """
    points = tokens.double().numpy()
    most = min(max_clusters, len(points) - 1, len(np.unique(points, axis=0)))
    best: tuple[float, NDArray[np.int32]] | None = None
    sample = np.random.RandomState(_SEED).permutation(len(points))[:_SILHOUETTE_SAMPLE]
    with threadpool_limits(1):
        distances = euclidean_distances(points[sample])  # the same for every k
        for count in range(2, most + 1):
            model = KMeans(count, n_init=_RESTARTS, max_iter=64, tol=1e-4, random_state=_SEED)
            labels = model.fit_predict(points)
            if len(np.unique(labels[sample])) < 2:
                continue
            score = silhouette_score(distances, labels[sample], metric="precomputed")
            if best is None or score > best[0]:
                best = (float(score), labels)
    if best is None:
        return torch.zeros(len(points), dtype=torch.int64)
    return torch.from_numpy(best[1].astype(np.int64))


def merge_regions(
    labels: Tensor,
    latents: Tensor,
    threshold: float,
    depth: Tensor | None = None,
    depth_threshold: float | None = None,
) -> Tensor:
    """Merge, transitively, regions whose mean latents lie closer than the threshold.

    A step of StyleGallery's segmentation (arXiv 2603.10354).

    Args:
        labels: Labels of all cells.
        latents: (N, C) tokens, or (C, h, w) or (1, C, h, w).
        threshold: Euclidean distance below which two regions merge; published: 0.85, with depth
            0.35.
        depth: Depth of all cells.
        depth_threshold: Two regions merge only if their mean depths differ by less; published: 0.3.
            None ignores depth.

    Returns:
        Labels from 0 without gaps, in the order of each merged region's smallest label.
    """
    cells = labels.numel()
    channels_first = latents.shape[-2:].numel() == cells
    tokens = latents.reshape(-1, cells).T if channels_first else latents.reshape(cells, -1)
    inverse = labels.flatten().unique(return_inverse=True)[1]
    close = _distances(tokens, inverse) < threshold
    if depth is not None and depth_threshold is not None:
        close &= _distances(depth.reshape(cells, 1), inverse) < depth_threshold
    numbers = torch.from_numpy(linked(close.numpy(), directed=False)[1]).long()
    return numbers[inverse].reshape(labels.shape)


def split_by_depth(labels: Tensor, depth: Tensor, threshold: float) -> Tensor:
    """Split every region of at least 20 cells that spans too much depth, by 2-means of its depths.

    A step of StyleGallery's segmentation with depth, in its published code. The span is that from
    the 5th to the 95th percentile. One part keeps the label, the other gets the next free one.

    Args:
        labels: Labels of all cells.
        depth: Depth of all cells.
        threshold: Smallest span that is split; published: 0.75.
    """
    split, heights = labels.flatten().long().clone(), depth.flatten().double()
    for value in labels.unique():
        cells = (labels.flatten() == value).nonzero()[:, 0]
        if len(cells) < _FEWEST_CELLS_TO_SPLIT:
            continue
        low, high = heights[cells].quantile(heights.new_tensor([0.05, 0.95]))
        if high - low >= threshold:
            split[cells[_second_of_two_means(heights[cells])]] = split.max() + 1
    return split.reshape(labels.shape)


def _distances(tokens: Tensor, inverse: Tensor) -> Tensor:
    regions = range(int(inverse.max()) + 1)
    means = torch.stack([tokens[inverse == region].double().mean(dim=0) for region in regions])
    return torch.cdist(means, means)


def _second_of_two_means(values: Tensor) -> Tensor:
    # A single start, drawn with seed 42, as in the published code; more starts change the result.
    generator = torch.Generator().manual_seed(_SEED)
    centers = values[torch.randperm(len(values), generator=generator)[:2]]
    for _ in range(_ROUNDS):
        away = (values[:, None] - centers).abs()
        second = away[:, 1] < away[:, 0]
        if not second.any():  # equal centers: move the second to the farthest value
            centers = torch.stack([centers[0], values[away[:, 0].argmax()]])
            continue
        moved = torch.stack([values[~second].mean(), values[second].mean()])
        shift, centers = (moved - centers).abs().max(), moved
        if shift < _TOLERANCE:
            break
    return second
