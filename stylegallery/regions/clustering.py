"""Cut feature tokens into clusters; the silhouette score chooses how many."""

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score
from sklearn.metrics.pairwise import euclidean_distances
from threadpoolctl import threadpool_limits
from torch import Tensor

COMPONENTS = 60
_RESTARTS = 4
_SILHOUETTE_SAMPLE = 1500
_SEED = 42


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
