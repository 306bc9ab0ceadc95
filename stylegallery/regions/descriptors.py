"""Descriptors of regions, which matching compares: semantics, texture statistics, geometry."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from stylegallery.regions.region_map import RegionMap

_CONTACT_CAP = 2.0


@dataclass(frozen=True, eq=False)
class Descriptors:
    """Descriptors of the R regions of one image.

    Attributes:
        semantic: (R, D) mean semantic features, not centered; D is 0 if they are not compared.
        statistical: (R, 2C) mean and standard deviation of the UNet features; C likewise.
        circle: (R, 3) center x, center y and radius in units of the image's sides, 0 to 1.
        area: (R,) share of the image; the sum is 1.
        contact: (R,) share of the region at the image border over its share of the image, capped
            at 2: high for ground, near 0 for figure.
    """

    semantic: Tensor
    statistical: Tensor
    circle: Tensor
    area: Tensor
    contact: Tensor


def describe(regions: RegionMap, semantic: Tensor, features: Tensor) -> Descriptors:
    """Describe all regions of one image.

    Args:
        regions: R regions on the latent grid (h, w).
        semantic: (1, D, h', w') semantic features on any grid.
        features: (1, C', h, w) timestep-weighted UNet features.
    """
    masks = regions.one_hot
    on_grid = F.interpolate(semantic.cpu().float(), masks.shape[-2:], mode="bilinear")[0]
    mean, deviation = _moments(masks, features[0].cpu().float())
    return Descriptors(
        semantic=_moments(masks, on_grid)[0],
        statistical=torch.cat([mean, deviation], dim=1),
        circle=torch.stack([region_circle(mask) for mask in masks]),
        area=regions.areas,
        contact=_border_contact(regions),
    )


def describe_places(regions: RegionMap) -> Descriptors:
    """Describe position and size of the regions alone, for methods that do not compare features."""
    none = torch.zeros(regions.count, 0)
    return Descriptors(
        semantic=none,
        statistical=none,
        circle=torch.stack([region_circle(mask) for mask in regions.one_hot]),
        area=regions.areas,
        contact=_border_contact(regions),
    )


def region_circle(mask: Tensor) -> Tensor:
    """Return (3,) center x, center y and radius of a mask (h, w), in units of its sides.

    As in the published code: centroid and largest distance from it. The paper (StyleGallery, arXiv
    2603.10354) takes the smallest enclosing circle.
    """
    height, width = mask.shape
    rows, columns = mask.nonzero(as_tuple=True)
    points = torch.stack([(columns + 0.5) / width, (rows + 0.5) / height], dim=1)
    center = points.mean(dim=0)
    radius = (points - center).norm(dim=1).max()
    return torch.cat([center, radius[None]])


def circle_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the intersection over union (R, S) of circles (R, 3) and (S, 3) as x, y, radius."""
    one, two = first[:, None], second[None]
    gap = (one[..., :2] - two[..., :2]).norm(dim=-1)
    radius, other = one[..., 2], two[..., 2]
    small, large = torch.minimum(radius, other), torch.maximum(radius, other)
    apart = gap.clamp(min=1e-9)
    cosine = (apart**2 + radius**2 - other**2) / (2 * apart * radius).clamp(min=1e-9)
    cosine_other = (apart**2 + other**2 - radius**2) / (2 * apart * other).clamp(min=1e-9)
    kite = (
        (radius + other - apart)
        * (apart + radius - other)
        * (apart - radius + other)
        * (apart + radius + other)
    )
    lens = (
        radius**2 * cosine.clamp(-1, 1).acos()
        + other**2 * cosine_other.clamp(-1, 1).acos()
        - 0.5 * kite.clamp(min=0).sqrt()
    )
    inside = torch.pi * small**2
    shared = torch.where(gap >= radius + other, torch.zeros_like(lens), lens)
    shared = torch.where(gap <= large - small, inside.expand_as(lens), shared)
    union = torch.pi * (radius**2 + other**2) - shared
    return torch.where(union > 0, shared / union.clamp(min=1e-12), torch.zeros_like(union))


def _moments(masks: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    weights = masks.flatten(1) / masks.flatten(1).sum(dim=1, keepdim=True)
    flat = values.flatten(1).T
    mean = weights @ flat
    return mean, ((weights @ flat**2) - mean**2).clamp(min=0).sqrt()


def _border_contact(regions: RegionMap) -> Tensor:
    border = torch.ones_like(regions.labels, dtype=torch.bool)
    border[1:-1, 1:-1] = False
    share = regions.one_hot[:, border].mean(dim=1)
    return (share / regions.areas).clamp(max=_CONTACT_CAP)
