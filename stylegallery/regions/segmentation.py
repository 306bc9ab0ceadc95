"""Features to region maps: cluster, merge what looks alike, clean, let the user's mask win."""

import numpy as np
import torch
from skimage.measure import label as connected_components
from skimage.morphology import dilation
from torch import Tensor
from torch.nn import functional as F

from schemas.params import StyleParams
from stylegallery.regions.clustering import (
    COMPONENTS,
    DEPTH_LOCK,
    DEPTH_SPAN,
    cluster,
    merge_regions,
    principal_components,
    split_by_depth,
)
from stylegallery.regions.priors import NO_PRIORS, SegmentationPriors
from stylegallery.regions.region_map import RegionMap, majority_labels

SEMANTIC_COMPONENTS, COLOUR_COMPONENTS = 20, 4
_COLOUR_WEIGHT = 1.5
_RIM = 1
_REACH, _ROUNDS, _LIKENESS = 2, 6, 0.05


def segment(
    features: Tensor,
    semantic: Tensor,
    latent: Tensor,
    params: StyleParams,
    hints: SegmentationPriors = NO_PRIORS,
) -> RegionMap:
    """Find the semantic regions of an image (METHOD 1.1).

    Unlike the published code, which clusters UNet features alone, the semantic encoder's
    features stand beside them with the same weight: UNet features follow outlines and texture,
    the encoder's what the thing is, and together they keep the inside of a garment and its
    outline in one region. Both are blurred by their receptive fields, so they are drawn back to
    the edges of the latent's main components, its colours, which are the third kind of feature.

    With depth, clusters are split and kept apart by it as published, but before anything merges:
    of a region joined across depths the mean depth says nothing.

    With SAM's segments, each is clustered as one, by the mean of its features, together with the
    cells that no segment covers (METHOD 1.5, W7): outlines are SAM's, and which things are of one
    kind, what SAM cannot tell, is told by the features. The published code takes the segments for
    the regions instead, and all that SAM leaves out for one more.

    Args:
        features: F_mix (1, C', h, w), timestep-weighted UNet features.
        semantic: (1, D, h', w') semantic features at any grid.
        latent: (1, C, h, w) clean latent on the same grid.
        params: `max_regions`, `merge_threshold` and `min_region_fraction` are used.
        hints: The user's labels, depth and segments, as far as they are known.

    Returns:
        The region map on the (h, w) grid.
    """
    grid = (int(latent.shape[-2]), int(latent.shape[-1]))
    dense = F.interpolate(semantic.cpu().float(), grid, mode="bilinear")
    meanings = torch.cat(
        [_tokens(features.cpu(), COMPONENTS), _tokens(dense, SEMANTIC_COMPONENTS)], dim=1
    )
    colours = _colours(latent.cpu())
    meanings = _drawn_to_edges(meanings, colours, grid)
    tokens = torch.cat([meanings, _COLOUR_WEIGHT * colours], dim=1)
    if hints.segments is not None:
        tokens = average_over_segments(tokens, _on_grid(hints.segments, grid).flatten())
    labels = cluster(tokens, params.max_regions).reshape(grid)
    if hints.depth is not None:
        labels = split_by_depth(labels, hints.depth, DEPTH_SPAN)
    labels = merge_regions(labels, latent[0].cpu(), params.merge_threshold, hints.depth, DEPTH_LOCK)
    cleaned = clean_small_regions(labels, params.min_region_fraction * labels.numel())
    return RegionMap.numbered(apply_user_labels(cleaned, hints.labels))


def _tokens(features: Tensor, components: int) -> Tensor:
    """Project (1, C, h, w) on its main directions, (h*w, components), of mean square norm 1."""
    projected = principal_components(_without_rim(features)[0].flatten(1).T, components)
    return projected / projected.square().sum(dim=1).mean().sqrt().clamp(min=1e-6)


def _colours(latent: Tensor) -> Tensor:
    """Return the main components of a latent (1, C, h, w), (h*w, 4), of mean square norm 1."""
    cells = latent[0].flatten(1).T.float()
    left, scale, _ = torch.linalg.svd(cells - cells.mean(dim=0), full_matrices=False)
    main: Tensor = left[:, :COLOUR_COMPONENTS] * scale[:COLOUR_COMPONENTS]
    return main / main.square().sum(dim=1).mean().sqrt().clamp(min=1e-6)


def _drawn_to_edges(tokens: Tensor, guide: Tensor, grid: tuple[int, int]) -> Tensor:
    """Average tokens (N, D) over neighbours of like guide (N, G): a joint bilateral filter."""
    width = 2 * _REACH + 1

    def neighbours(values: Tensor) -> Tensor:
        """(N, D) to (D, width * width, N)."""
        padded = F.pad(values.T.reshape(1, -1, *grid), (_REACH,) * 4, mode="replicate")
        return F.unfold(padded, width).reshape(values.shape[1], width * width, -1)

    distance = (neighbours(guide) - guide.T[:, None]).square().sum(dim=0)
    weights = (-distance / _LIKENESS).exp()
    weights = weights / weights.sum(dim=0)
    for _ in range(_ROUNDS):
        tokens = (neighbours(tokens) * weights).sum(dim=1).T
    return tokens


def _without_rim(features: Tensor) -> Tensor:
    """Replace the outermost cells (1, C', h, w) by their inner neighbours.

    Zero padding marks the rim of UNet features so strongly that k-means would take the frame of
    the image for its main region.
    """
    if min(features.shape[-2:]) < 3 + 2 * _RIM:
        return features
    inner = features[..., _RIM:-_RIM, _RIM:-_RIM]
    return F.pad(inner, (_RIM,) * 4, mode="replicate")


def average_over_segments(tokens: Tensor, segments: Tensor) -> Tensor:
    """Give all cells of a segment their mean token, so that no clustering tears it apart.

    Args:
        tokens: (N, D), one of each cell.
        segments: (N,) int64; 0 where no segment is, which leaves the token as it is.
    """
    tokens = tokens.clone()
    for segment in segments[segments > 0].unique():
        inside = segments == segment
        tokens[inside] = tokens[inside].mean(dim=0)
    return tokens


def clean_small_regions(labels: Tensor, min_cells: float) -> Tensor:
    """Give 4-connected pieces smaller than `min_cells` the majority label of their ring.

    Smallest pieces first, each seeing the map as it stands by then, so that fragments do not
    keep each other alive; the published code makes a single pass over the first map.

    Args:
        labels: (h, w) int64.
        min_cells: Pieces with fewer cells go.
    """
    grid = labels.numpy().copy()
    pieces = connected_components(grid, background=-1, connectivity=1)
    numbers, counts = np.unique(pieces, return_counts=True)
    for number in numbers[np.lexsort((numbers, counts))]:
        piece = pieces == number
        if piece.sum() >= min_cells or piece.all():
            continue
        ring = dilation(piece, np.ones((3, 3), dtype=np.uint8)) & ~piece
        around, votes = np.unique(grid[ring], return_counts=True)
        grid[piece] = around[votes.argmax()]
    return torch.from_numpy(grid)


def apply_user_labels(labels: Tensor, user_labels: Tensor | None) -> Tensor:
    """Let each label of the user replace what was found automatically (h, w).

    Args:
        labels: (h, w) int64 automatic regions.
        user_labels: (H, W) int64, 0 where free, or None.
    """
    if user_labels is None or not user_labels.any():
        return labels
    wanted = _on_grid(user_labels, (labels.shape[0], labels.shape[1]))
    return torch.where(wanted > 0, labels.max() + wanted, labels)


def _on_grid(labels: Tensor, grid: tuple[int, int]) -> Tensor:
    """Reduce labels (H, W) to a grid of (h, w) cells, each label keeping at least one of them."""
    masks = torch.stack([labels == value for value in range(int(labels.max()) + 1)]).float()
    return majority_labels(masks, grid)
