"""Single steps of the authors' code of StyleGallery (arXiv 2603.10354), flaws included.

:mod:`stylegallery.methods.stylegallery_paper` combines them. Where the corrected method does the
same, its function is used; stylegallery/README.md lists the differences.

`labels` are integers, (h, w) or flat (N,), then taken as a square map where neighbors matter;
returned labels are int64 of the same shape. `depth` is (h, w) or (N,) in [0, 1].
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from diffusers import DDIMInverseScheduler
from skimage.measure import label as connected_components
from skimage.morphology import diamond, dilation
from torch import Tensor

from stylegallery.guidance.energies import content_energy, style_energy
from stylegallery.models.attention import attend, grid_size
from stylegallery.models.inversion import (
    timestep_weights as timestep_weights,  # part of this module's interface
)
from stylegallery.regions import descriptors
from stylegallery.regions.clustering import merge_regions as merge_regions
from stylegallery.regions.clustering import split_by_depth as split_by_depth
from stylegallery.regions.region_map import RegionMap

_Center = Tensor | Sequence[float]


def region_circle(points: Tensor) -> tuple[Tensor, Tensor]:
    """Return the centroid (2,) of points (n, 2), n > 0, and the largest distance () from it.

    The paper describes the smallest enclosing circle instead. Unit and dtype are the points';
    integers give float32.
    """
    exact = points.double()
    center = exact.mean(dim=0)
    radius = (exact - center).norm(dim=1).max()
    dtype = points.dtype if points.is_floating_point() else torch.float32
    return center.to(dtype), radius.to(dtype)


def circle_iou(
    center1: _Center, radius1: Tensor | float, center2: _Center, radius2: Tensor | float
) -> Tensor:
    """Return the intersection over union () of two circles, float32 in [0, 1].

    Centers are (2,). It is 0 for circles that only touch and for two circles of radius 0.
    """
    first, second = (
        torch.cat([torch.as_tensor(part, dtype=torch.float64).flatten() for part in circle])
        for circle in ((center1, radius1), (center2, radius2))
    )
    return descriptors.circle_iou(first[None], second[None])[0, 0].float()


def style_loss(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    output: Tensor,
    content_mask: Tensor,
    style_mask: Tensor,
    scale: float,
) -> Tensor:
    """Return one region's style loss () in one layer, with masks that multiply.

    A masked key stays in the softmax with logit and value 0, a masked query attends evenly to all
    keys, and the mean runs over the whole map. :func:`stylegallery.guidance.energies.style_target`
    masks exactly instead.

    Args:
        query: (B, heads, N, d) of the latent that is optimized.
        key: (B, heads, M, d) of the reference.
        value: (B, heads, M, d) of the reference.
        output: (B, heads, N, d) of the latent; the only argument with a gradient.
        content_mask: 0 and 1, (h, w) or (N,); a finer grid is resized by nearest neighbor.
        style_mask: Likewise, on the reference's M cells.
        scale: Factor on the queries; published as 1.5.
    """
    asking = _per_token(content_mask, query.shape[-2])
    seen = _per_token(style_mask, key.shape[-2])
    with torch.no_grad():
        target = attend(query * scale * asking, key * seen, value * seen)
    return style_energy(output * asking, target)


def content_loss(query: Tensor, content_query: Tensor) -> Tensor:
    """Return one layer's mean |Q - Q_content| () of queries (B, heads, N, d)."""
    return content_energy(query, content_query)


def remove_style(latent: Tensor) -> Tensor:
    """Normalize each cell of a latent (..., C, h, w) over its channels.

    The standard deviation is the unbiased one; a cell whose channels are all equal becomes 0.
    """
    centered = latent - latent.mean(dim=-3, keepdim=True)
    return centered / (latent.std(dim=-3, keepdim=True) + 1e-8)


def clean_small_regions(labels: Tensor, min_cells: float) -> Tensor:
    """Give 4-connected pieces below `min_cells` (published as 20) the majority label around them.

    One pass in which every piece sees the original map, so small neighbors may swap labels. The
    4-neighbors of a piece vote; of equally frequent labels the smallest wins. A piece that covers
    the whole map stays.
    """
    grid = _grid(labels).long().numpy()
    cleaned = grid.copy()
    pieces = connected_components(grid, background=int(grid.min()) - 1, connectivity=1)
    numbers, counts = np.unique(pieces, return_counts=True)
    for number in numbers[counts < min_cells]:
        piece = pieces == number
        around, votes = np.unique(grid[dilation(piece, diamond(1)) & ~piece], return_counts=True)
        if len(around):
            cleaned[piece] = around[votes.argmax()]
    return torch.from_numpy(cleaned).reshape(labels.shape)


def apply_user_mask(labels: Tensor, user_mask: Tensor) -> Tensor:
    """Let each label of the user overwrite the automatic ones as a new region.

    `user_mask` holds integers (H, W), positive where assigned, or colors (H, W, 3), each a label
    in order of first appearance, with black for unassigned. It is resized to the size of `labels`
    by nearest neighbor, where thin labels can vanish. New regions are numbered from the largest
    label on.
    """
    grid = _grid(labels).long()
    if user_mask.ndim == 3 and user_mask.shape[-1] == 3:
        colors = user_mask.flatten(0, 1).unique(dim=0, return_inverse=True)[1]
        numbers = RegionMap.numbered(colors.reshape(user_mask.shape[:2])).labels + 1
        user_mask = numbers * user_mask.bool().any(dim=-1)
    wanted = nearest(_grid(user_mask).long(), (grid.shape[0], grid.shape[1]))
    present = wanted[wanted > 0].unique()
    numbers = grid.max() + 1 + torch.searchsorted(present, wanted)
    return torch.where(wanted > 0, numbers, grid).reshape(labels.shape)


@torch.no_grad()
def invert(
    latent: Tensor, noise_model: Callable[[Tensor, Tensor], Tensor], scheduler: Any, steps: int
) -> Tensor:
    """Invert a clean latent (B, C, h, w) by DDIM; return all steps (steps, B, C, h, w).

    Each step predicts the noise at the timestep it leads to, from the latent before it. Nothing
    is clipped, and the first step starts from the schedule's first alpha, regardless of the
    scheduler's settings for sampling.

    Args:
        latent: (B, C, h, w).
        noise_model: Maps a latent and its timestep () int64 to the noise in it.
        scheduler: A DDIM scheduler, sampling or inverse, or its config.
        steps: Number of steps.
    """
    published = {"clip_sample": False, "set_alpha_to_one": False, "prediction_type": "epsilon"}
    config = getattr(scheduler, "config", scheduler)
    inverse = DDIMInverseScheduler.from_config(config, **published)
    inverse.set_timesteps(steps)
    trajectory = []
    for timestep in inverse.timesteps:
        latent = inverse.step(noise_model(latent, timestep), timestep, latent).prev_sample
        trajectory.append(latent)
    return torch.stack(trajectory)


def _grid(labels: Tensor) -> Tensor:
    side = math.isqrt(len(labels))
    return labels.reshape((side, side) if labels.ndim == 1 else labels.shape[-2:])


def nearest(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize values (h, w) to another grid (h', w') as torch's nearest neighbor does.

    From 64 to 32 only even rows and columns remain, so thin regions can vanish.
    """
    rows, columns = (torch.arange(n) * m // n for n, m in zip(size, values.shape, strict=True))
    return values[rows][:, columns]


def _per_token(mask: Tensor, tokens: int) -> Tensor:
    if mask.numel() != tokens:
        grid = _grid(mask)
        mask = nearest(grid, grid_size(tokens, (grid.shape[0], grid.shape[1])))
    return mask.reshape(tokens, 1)
