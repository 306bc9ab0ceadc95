"""The published energies, masks that multiply by zero, without a dense pass for each region.

A key that a mask has zeroed stays in the softmax, with logit 0 and value 0 (METHOD 1.5, W1). All
keys that a region's match leaves out of its reference so act together as one key of value 0 and
logit log(their number): the region attends to its match's keys and to that one, which gives the
same numbers as all keys do (:func:`stylegallery.methods.paper.style_loss`) for a fraction of the
work.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from stylegallery.guidance.energies import RegionAttention, style_energy, style_target
from stylegallery.guidance.guidance import Guidance, Seen
from stylegallery.guidance.region_attention import Router, won
from stylegallery.methods import paper
from stylegallery.models.attention import LayerRecord, grid_size
from stylegallery.types import PreparedImage, StyleJob


class ZeroFillRouter(Router):
    """Each region's queries and its match's keys, and behind all keys the one of the zeroed."""

    def groups(self, queries: int, keys: list[int]) -> RegionAttention:
        """Build them, on the CPU; masks are resized by nearest neighbour, as published (W3)."""
        job, found = self.job, []
        own, zeroed = _nearest_labels(job.content, queries), torch.tensor([sum(keys)])
        for region, index in enumerate(job.routing.best.tolist()):
            style, match = job.routing.locate(index)
            asking = (own == region).nonzero()[:, 0]
            seen = (_nearest_labels(job.styles[style], keys[style]) == match).nonzero()[:, 0]
            number = torch.tensor([float(keys[style] - len(seen))])
            bias = torch.cat([torch.zeros(len(seen)), number.log()])  # of none it is -inf
            found.append((asking, torch.cat([seen + sum(keys[:style]), zeroed]), bias))
        return RegionAttention(tuple(found))


class PublishedGuidance(Guidance):
    """The published energies, with their flaws (METHOD 1.3 and 1.5, W1 to W3)."""

    def route(self, job: StyleJob, device: torch.device) -> Router:
        """Take the masks of every content region and of its match from the region maps."""
        return ZeroFillRouter(won(job), device)

    def style_energy(self, index: int, layer: LayerRecord, own: Tensor, styles: Seen) -> Tensor:
        """Return the sum () of all content regions' style losses in one layer.

        In float32, as where the published masks are.
        """
        keys, values = zip(*styles, strict=True)
        routing = self.routers[index].at(layer.query.shape[2], [k.shape[2] for k in keys])
        key, value = (F.pad(torch.cat(p, dim=2).float(), (0, 0, 0, 1)) for p in (keys, values))
        query, output = layer.query.detach().float(), layer.output.float()
        target = style_target(
            query, key, value, torch.zeros_like(output), routing, self.params.attention_scale
        )
        return style_energy(output, target) + _floor(value, routing, output.shape[2])


def _floor(value: Tensor, routing: RegionAttention, queries: int) -> Tensor:
    """Return what the published loss () counts of queries outside their region.

    Zeroed as well, they spread evenly over all keys, and what they find is compared with zeros
    (W2). No gradient comes of it, and no more with other latents.
    """
    floor = value.new_zeros(())
    for asking, seen, bias in routing.groups:
        if bias is not None:  # of weight 1 for each key that is left, and the zeroed ones' number
            even = value[:, :, seen].sum(dim=2) / bias.exp().sum()
            outside = 1 - value.new_ones(queries)[asking].sum() / queries
            floor += outside * even.abs().mean()
    return floor


def _nearest_labels(image: PreparedImage, tokens: int) -> Tensor:
    grid = grid_size(tokens, (int(image.latent.shape[-2]), int(image.latent.shape[-1])))
    return paper.nearest(image.regions.labels, grid).flatten()
