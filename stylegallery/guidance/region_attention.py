"""Routing of one job as index groups, for every resolution of the UNet."""

from dataclasses import replace

import torch
from torch import Tensor

from stylegallery.guidance.energies import RegionAttention
from stylegallery.models.attention import grid_size
from stylegallery.types import PreparedImage, StyleJob


class Router:
    """Query and key indices of one job, built once per resolution."""

    def __init__(self, job: StyleJob, device: torch.device) -> None:
        """Hold the indices on `device`."""
        self.job, self._device = job, device
        self._built: dict[int, RegionAttention] = {}

    def at(self, queries: int, keys: list[int]) -> RegionAttention:
        """Return the groups of a layer.

        Args:
            queries: Number N of the layer's queries.
            keys: Number of keys of each reference.
        """
        if queries not in self._built:
            self._built[queries] = self.build(queries, keys).to(self._device)
        return self._built[queries]

    def build(self, queries: int, keys: list[int]) -> RegionAttention:
        """Build the groups of a layer on the CPU; arguments as for :meth:`at`."""
        job, labels, offset = self.job, [], 0
        for style, tokens, count in zip(job.styles, keys, job.routing.style_regions, strict=True):
            labels.append(_labels_at(style, tokens) + offset)
            offset += count
        table, own = job.routing.log_weights, _labels_at(job.content, queries)
        return RegionAttention.build(table, own, torch.cat(labels))


def drop_unused(job: StyleJob) -> StyleJob:
    """Remove the references that no content region takes style from; their features are not needed.

    Of a reference that is used, all regions stay, because its cached features serve other jobs.
    """
    routing, counts = job.routing, job.routing.style_regions
    chosen = routing.log_weights.isfinite().any(dim=0)
    chosen[routing.best] = True
    used = [bool(part.any()) for part in chosen.split(counts)]
    columns = torch.tensor(used).repeat_interleave(torch.tensor(counts))
    remaining = replace(
        routing,
        log_weights=routing.log_weights[:, columns],
        log_prior=routing.log_prior[columns],
        style_regions=tuple(c for c, use in zip(counts, used, strict=True) if use),
        best=(columns.cumsum(0) - 1)[routing.best],
    )
    styles = [style for style, use in zip(job.styles, used, strict=True) if use]
    return replace(job, styles=styles, routing=remaining)


def _labels_at(image: PreparedImage, tokens: int) -> Tensor:
    """Return the region (tokens,) of each token of a layer."""
    latent = (int(image.latent.shape[-2]), int(image.latent.shape[-1]))
    return image.regions.resized(grid_size(tokens, latent)).flatten()
