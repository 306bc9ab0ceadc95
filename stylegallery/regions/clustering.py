"""Cluster feature tokens into regions, merge regions that look alike, split those at two depths.

The silhouette score chooses how many clusters there are. `labels` are integers, (h, w) or flat
(N,); what comes back is int64 of the same shape. `depth` is (h, w) or (N,) in [0, 1], as
:mod:`stylegallery.models.depth` gives it.
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
_RESTARTS = 4
_SILHOUETTE_SAMPLE = 1500
_SEED = 42
DEPTH_SPAN, DEPTH_LOCK = 0.75, 0.3
"""As published: a region that spans the first is split, and two that lie the second apart do not
merge with each other."""
_FEWEST_CELLS_TO_SPLIT = 20
_ROUNDS, _TOLERANCE = 64, 1e-4


def principal_components(tokens: Tensor, components: int = COMPONENTS) -> Tensor:
    """Standardise tokens (N, C) channel by channel and project them on their main directions.

    Returns:
        (N, min(C, N, components)) float32.
    """
    standard = (tokens - tokens.mean(dim=0)) / (tokens.std(dim=0) + 1e-6)
    left, scale, _ = torch.linalg.svd(standard, full_matrices=False)
    projected: Tensor = left[:, :components] * scale[:components]
    return projected


def cluster(tokens: Tensor, max_clusters: int) -> Tensor:
    """Cluster tokens (N, D) by k-means; k from 2 to `max_clusters` by best silhouette.

    One thread and fixed seeds, so the same tokens always give the same labels.

    Returns:
        (N,) int64 labels.
    """
    points = tokens.double().numpy()
    most = min(max_clusters, len(points) - 1, len(np.unique(points, axis=0)))
    best: tuple[float, NDArray[np.int32]] | None = None
    sample = np.random.RandomState(_SEED).permutation(len(points))[:_SILHOUETTE_SAMPLE]
    with threadpool_limits(1):
        distances = euclidean_distances(points[sample])  # once for all numbers of clusters
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
    """Merge regions whose mean latents lie closer than the threshold, transitively (METHOD 1.1).

    Args:
        latents: (N, C) tokens, or (C, h, w) or (1, C, h, w).
        threshold: Euclidean distance below which a pair merges; 0.85, with depth 0.35.
        depth_threshold: The depth lock, 0.3: a pair merges only if its mean depths differ by
            less. Without it the latent alone decides.

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
    """Split every region of 20 cells or more that spans too much depth in two (METHOD 1.1).

    It does when its depths from the 5th to the 95th percentile, interpolated linearly, span at
    least the threshold (0.75). One part keeps its label, the other gets the next above all.
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
    # One start, a pair drawn with seed 42, as the published figures show: not always the best.
    generator = torch.Generator().manual_seed(_SEED)
    centres = values[torch.randperm(len(values), generator=generator)[:2]]
    for _ in range(_ROUNDS):
        away = (values[:, None] - centres).abs()
        second = away[:, 1] < away[:, 0]
        if not second.any():  # a pair of equal values: take the farthest for the second
            centres = torch.stack([centres[0], values[away[:, 0].argmax()]])
            continue
        moved = torch.stack([values[~second].mean(), values[second].mean()])
        shift, centres = (moved - centres).abs().max(), moved
        if shift < _TOLERANCE:
            break
    return second
