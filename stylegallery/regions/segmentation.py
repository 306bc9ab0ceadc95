"""Segment an image: cluster its features, merge similar regions, clean up, apply user labels."""

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

SEMANTIC_COMPONENTS, COLOR_COMPONENTS = 20, 4
_COLOR_WEIGHT = 1.5
_RIM = 1
_REACH, _ROUNDS, _LIKENESS = 2, 6, 0.05  # bilateral filter: radius, passes, color variance


def segment(
    features: Tensor,
    semantic: Tensor,
    latent: Tensor,
    params: StyleParams,
    priors: SegmentationPriors = NO_PRIORS,
) -> RegionMap:
    """Find the semantic regions of an image, after StyleGallery (arXiv 2603.10354).

    The published code clusters UNet features alone. Here three kinds of features are clustered:
    UNet features, which follow outlines and texture; semantic features of the same weight, which
    tell objects apart and keep the inside of a garment and its outline in one region; and colors,
    the principal components of the latent. The first two are blurred by their receptive fields, so
    a joint bilateral filter sharpens them at the edges of the colors.

    With depth, clusters are split and kept apart as in the published code, but before they merge:
    the mean depth of a region merged across depths is meaningless.

    With SAM's segments, all cells of a segment get the mean of their features. So SAM decides the
    outlines, and the features decide which segments belong together. The published code uses the
    segments as regions, and all cells outside them as one more.

    Args:
        features: (1, C', h, w) timestep-weighted UNet features.
        semantic: (1, D, h', w') semantic features on any grid.
        latent: (1, C, h, w) clean latent on the same grid as `features`.
        params: `max_regions`, `merge_threshold` and `min_region_fraction` are used.
        priors: The user's labels, depth and segments, as far as known.

    Returns:
        The region map on the (h, w) grid.
    """
    grid = (int(latent.shape[-2]), int(latent.shape[-1]))
    dense = F.interpolate(semantic.cpu().float(), grid, mode="bilinear")
    meanings = torch.cat(
        [_tokens(features.cpu(), COMPONENTS), _tokens(dense, SEMANTIC_COMPONENTS)], dim=1
    )
    colors = _colors(latent.cpu())
    meanings = _sharpen_at_edges(meanings, colors, grid)
    tokens = torch.cat([meanings, _COLOR_WEIGHT * colors], dim=1)
    if priors.segments is not None:
        tokens = average_over_segments(tokens, _on_grid(priors.segments, grid).flatten())
    labels = cluster(tokens, params.regions.max_regions).reshape(grid)
    if priors.depth is not None:
        labels = split_by_depth(labels, priors.depth, DEPTH_SPAN)
    labels = merge_regions(
        labels, latent[0].cpu(), params.regions.merge_threshold, priors.depth, DEPTH_LOCK
    )
    cleaned = clean_small_regions(labels, params.regions.min_region_fraction * labels.numel())
    return RegionMap.numbered(apply_user_labels(cleaned, priors.labels))


def average_over_segments(tokens: Tensor, segments: Tensor) -> Tensor:
    """Give all cells of a segment their mean token, so that clustering does not split it.

    Args:
        tokens: (N, D), one token per cell.
        segments: (N,) int64; tokens of cells with 0, outside all segments, are unchanged.
    """
    tokens = tokens.clone()
    for segment in segments[segments > 0].unique():
        inside = segments == segment
        tokens[inside] = tokens[inside].mean(dim=0)
    return tokens


def clean_small_regions(labels: Tensor, min_cells: float) -> Tensor:
    """Give each small 4-connected piece the majority label of the cells around it.

    Pieces are relabeled in order of size, each on the map as changed so far, so that adjacent
    fragments disappear. The published code makes a single pass over the original map.

    Args:
        labels: (h, w) int64.
        min_cells: Pieces with fewer cells are relabeled.
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
    """Replace automatic labels by the user's, each as a new label.

    Args:
        labels: (h, w) int64 automatic labels.
        user_labels: (H, W) int64; 0 is free. None changes nothing.
    """
    if user_labels is None or not user_labels.any():
        return labels
    wanted = _on_grid(user_labels, (labels.shape[0], labels.shape[1]))
    return torch.where(wanted > 0, labels.max() + wanted, labels)


def _tokens(features: Tensor, components: int) -> Tensor:
    """Return the principal components (h*w, components) of (1, C, h, w), of mean square norm 1."""
    projected = principal_components(_replace_rim(features)[0].flatten(1).T, components)
    return projected / projected.square().sum(dim=1).mean().sqrt().clamp(min=1e-6)


def _colors(latent: Tensor) -> Tensor:
    """Return the principal components (h*w, 4) of a latent (1, C, h, w), of mean square norm 1."""
    cells = latent[0].flatten(1).T.float()
    left, scale, _ = torch.linalg.svd(cells - cells.mean(dim=0), full_matrices=False)
    main: Tensor = left[:, :COLOR_COMPONENTS] * scale[:COLOR_COMPONENTS]
    return main / main.square().sum(dim=1).mean().sqrt().clamp(min=1e-6)


def _sharpen_at_edges(tokens: Tensor, guide: Tensor, grid: tuple[int, int]) -> Tensor:
    """Filter tokens (N, D) by a joint bilateral filter with the guide (N, G)."""
    width = 2 * _REACH + 1

    def neighbors(values: Tensor) -> Tensor:
        """(N, D) to (D, width * width, N)."""
        padded = F.pad(values.T.reshape(1, -1, *grid), (_REACH,) * 4, mode="replicate")
        return F.unfold(padded, width).reshape(values.shape[1], width * width, -1)

    distance = (neighbors(guide) - guide.T[:, None]).square().sum(dim=0)
    weights = (-distance / _LIKENESS).exp()
    weights = weights / weights.sum(dim=0)
    for _ in range(_ROUNDS):
        tokens = (neighbors(tokens) * weights).sum(dim=1).T
    return tokens


def _replace_rim(features: Tensor) -> Tensor:
    """Replace the outermost cells of (1, C', h, w) by their inner neighbors.

    Zero padding affects UNet features at the rim so strongly that k-means would make the rim the
    main region.
    """
    if min(features.shape[-2:]) < 3 + 2 * _RIM:
        return features
    inner = features[..., _RIM:-_RIM, _RIM:-_RIM]
    return F.pad(inner, (_RIM,) * 4, mode="replicate")


def _on_grid(labels: Tensor, grid: tuple[int, int]) -> Tensor:
    """Reduce labels (H, W) to a grid of (h, w) cells; each label keeps at least one cell."""
    masks = torch.stack([labels == value for value in range(int(labels.max()) + 1)]).float()
    return majority_labels(masks, grid)
