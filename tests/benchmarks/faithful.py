"""The published procedure with all the work of its code, as the baseline of timings."""

from functools import cached_property, partial

import torch
from torch import Tensor

from stylegallery.guidance.guidance import Guidance, Seen
from stylegallery.guidance.region_attention import Router
from stylegallery.methods import paper, published
from stylegallery.models.attention import LayerRecord
from stylegallery.types import Job


class DenseGuidance(Guidance):
    """Multiplying masks and a dense float32 attention per region, as in the published code."""

    def route(self, job: Job, device: torch.device) -> Router:
        """Route to all references, even to those that no region uses."""
        return Router(job, device)

    @cached_property
    def _pairs(self) -> list[list[tuple[Tensor, int, Tensor]]]:
        return [_matched(router.job, self._models.device) for router in self.routers]

    def style_energy(self, index: int, layer: LayerRecord, own: Tensor, styles: Seen) -> Tensor:
        """Return the sum () of all content regions' style losses in one layer."""
        query, output = layer.query.float(), layer.output.float()
        losses = []
        for mask, style, other in self._pairs[index]:
            key, value = (part.float() for part in styles[style])
            scale = self.params.attention_scale
            losses.append(paper.style_loss(query, key, value, output, mask, other, scale))
        return torch.stack(losses).sum()

    def _seen(self, latent: Tensor, timestep: int) -> dict[str, LayerRecord]:
        self._models.denoise(latent, timestep)  # the whole UNet, as in the published code
        return dict(self._record.layers)


def _matched(job: Job, device: torch.device) -> list[tuple[Tensor, int, Tensor]]:
    """Return per content region: mask (h, w), index of the reference, and its mask there."""
    matches = [job.routing.locate(index) for index in job.routing.best.tolist()]
    theirs = [job.styles[style].regions.one_hot[region].to(device) for style, region in matches]
    own = job.content.regions.one_hot.to(device)
    return [(m, s, o) for m, (s, _), o in zip(own, matches, theirs, strict=True)]


optimise = partial(published.optimise, kind=DenseGuidance)
"""Replaces the algorithm of `stylegallery-paper`."""
