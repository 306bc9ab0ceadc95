"""The method `diffstyler`: learnt styles joined by regions (DiffStyler, arXiv 2403.18461).

One adapter is learnt from each reference; see :mod:`stylegallery.adapters.learning`. The content is
inverted and denoised with all of them at once: each cell follows the adapter of the reference that
its region is matched to, and features of the content hold its forms.

Departures from the published code: regions and matches are those of the method `stylegallery`, not
masks of a segmenter; they have the content's aspect; the injected features are the plain model's;
adapters act in the injected layers too; without prompts the empty one stands for all; and regions
that keep the content get the photo's own pixels back.
"""

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from stylegallery.guidance.loss_trace import OnStep
from stylegallery.methods.base import Samplers
from stylegallery.methods.stylegallery import RegionalMethod
from stylegallery.sampling.fused import FusedSampler
from stylegallery.sampling.style_masks import kept_regions
from stylegallery.types import RestyledLatent, StyleJob

_CORNER = 0.25
"""What bilinear enlarging leaves of a cell at its corner, if its neighbors are not in the mask."""


class DiffStyler(RegionalMethod):
    """Fusion of adapters by regions; the sampler `optimise` is the method's own sampling."""

    samplers: ClassVar[Samplers] = {"optimise": FusedSampler}

    def restyle(self, jobs: list[StyleJob], on_step: OnStep | None = None) -> list[RestyledLatent]:
        """Return the restyled latents of jobs with one latent size and equal adapters, in order.

        The jobs of the results protect the regions that keep the content.
        """
        made = super().restyle(jobs, on_step)
        return [replace(one, job=protecting_kept_regions(one.job)) for one in made]


def protecting_kept_regions(job: StyleJob) -> StyleJob:
    """Return a job that also protects the pixels of regions that keep the content.

    The protected area has a smooth outline around all of their cells.
    """
    kept = kept_regions(job.routing)
    if not kept.any():
        return job
    cells = kept[job.content.regions.labels].float()
    protect = _outlined(cells, job.content.picture.size)
    if job.protect is not None:
        protect = torch.maximum(protect, job.protect)
    return replace(job, protect=protect)


def _outlined(cells: Tensor, size: tuple[int, int]) -> Tensor:
    """Enlarge a mask (h, w) of cells to (1, 1, *size), of 0 and 1, so that it covers its cells."""
    smooth = F.interpolate(cells[None, None], size, mode="bilinear")
    return (smooth >= _CORNER).float()
