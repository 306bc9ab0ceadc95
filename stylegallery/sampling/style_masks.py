"""Masks of a job's references: which style each cell of the content takes, and when."""

import torch
from torch import Tensor
from torch.nn import functional as F

from schemas.diffstyler import Blend
from stylegallery.matching.correspondence import Correspondence
from stylegallery.types import StyleJob

_EQUAL = 1e-6  # shares that differ by rounding lead together


def kept_regions(routing: Correspondence) -> Tensor:
    """Return which content regions (R,) bool take no style, because their fallback is `content`."""
    return ~routing.log_weights.isfinite().any(dim=1)


def style_shares(job: StyleJob, blend: Blend) -> Tensor:
    """Return the share of each of n references in the style of each content region.

    The routing gives a region's weight of each style region, for attention to each of its cells;
    so a reference's share is the sum over its regions of weight times area. In soft routing of
    strength 1 this is what the transport plan moves there.

    Args:
        job: The job.
        blend: With `regions`, a region has the reference of its best match alone. One whose
            fallback is the whole gallery has them all, as in the other blends.

    Returns:
        (R, n) in [0, 1]; rows sum to 1, or to 0 for regions that keep the content.
    """
    routing = job.routing
    count = len(routing.style_regions)
    owners = torch.arange(count).repeat_interleave(torch.tensor(routing.style_regions))
    owned = F.one_hot(owners, count).float()
    area = torch.cat([style.descriptors.area for style in job.styles])
    shares = (routing.log_weights + area.log()).softmax(dim=1) @ owned
    if blend == "regions":
        matched = torch.tensor([used == "none" for used in routing.fallback])
        shares = torch.where(matched[:, None], owned[routing.best], shares)
    return torch.where(kept_regions(routing)[:, None], 0.0, shares)


def leading_shares(shares: Tensor, progress: float) -> Tensor:
    """Return the shares of the references that lead at one time, if they lead in turn.

    The order in a region is from the smallest share to the largest, so that it does not depend on
    the order of the references; equal shares lead together.

    Args:
        shares: (R, n) from :func:`style_shares`.
        progress: Part of the steps that is done, in [0, 1).

    Returns:
        (R, n); rows sum to 1, or to 0 for regions that keep the content.
    """
    smaller = shares[:, None] < shares[:, :, None] - _EQUAL
    begin = (smaller * shares[:, None]).sum(dim=2)
    begun = begin.masked_fill((begin > progress) | (shares == 0), -1.0)
    latest = begun.amax(dim=1, keepdim=True)
    leading = shares * ((begun >= 0) & (begun >= latest - _EQUAL))
    return leading / leading.sum(dim=1, keepdim=True).clamp(min=_EQUAL)


def cell_masks(job: StyleJob, shares: Tensor) -> Tensor:
    """Return the weights (1 + n, h, w) of the plain model and of each reference in each cell.

    The plain model has the cells of regions without any share. The weights of a cell sum to 1.
    """
    plain = (shares.sum(dim=1, keepdim=True) == 0).float()
    return torch.cat([plain, shares], dim=1).T[:, job.content.regions.labels]
