"""The method `stylegallery-paper`: the authors' code of StyleGallery (arXiv 2603.10354).

Regions, matching and energies are those of the code, flaws included, as a baseline for the
corrected method; single steps are in :mod:`stylegallery.methods.paper`. Two things differ: the
authors pass region statistics through a transformer with random weights that change from run to
run, which is left out, and images keep their aspect instead of being resized to a square.
"""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from stylegallery.guidance.energies import RegionAttention, style_energy, style_target
from stylegallery.guidance.guidance import Guidance, GuidanceStep, LayerTargets
from stylegallery.guidance.region_attention import Router, drop_unused
from stylegallery.matching.correspondence import Correspondence, hard_log_weights
from stylegallery.matching.matching import Similarity, build_correspondence, pin_regions
from stylegallery.methods import paper
from stylegallery.methods.base import ImageFeatures, MatchRequest, RegionFinder, Samplers
from stylegallery.models.attention import LayerRecord, grid_size
from stylegallery.models.inversion import inverted_latents
from stylegallery.regions.clustering import (
    DEPTH_LOCK,
    DEPTH_SPAN,
    cluster,
    merge_regions,
    principal_components,
    split_by_depth,
)
from stylegallery.regions.descriptors import circle_iou
from stylegallery.regions.region_map import RegionMap
from stylegallery.sampling.guided import GuidedSampler
from stylegallery.sampling.optimise import OptimiseSampler
from stylegallery.types import PreparedImage, StyleJob

_DEPTH_MERGE, _SEGMENTS_MERGE = 0.35, 0.5


class ZeroMaskRouter(Router):
    """Region masks that multiply keys by zero, without dense attention for each region.

    A key that is multiplied by zero stays in the softmax with logit 0 and value 0. All keys that
    a region's match excludes therefore act as one key of value 0 and logit log(their number): the
    region attends to its match's keys and to that one, at the place after all keys. The result is
    that of :func:`stylegallery.methods.paper.style_loss` at a fraction of the cost.
    """

    def build(self, queries: int, keys: list[int]) -> RegionAttention:
        """Build the groups on the CPU; masks are resized by nearest neighbor, as in the code."""
        job, groups = self.job, []
        own, zeroed = _nearest_labels(job.content, queries), torch.tensor([sum(keys)])
        for region, index in enumerate(job.routing.best.tolist()):
            style, match = job.routing.locate(index)
            rows = (own == region).nonzero()[:, 0]
            columns = (_nearest_labels(job.styles[style], keys[style]) == match).nonzero()[:, 0]
            excluded = torch.tensor([float(keys[style] - len(columns))])
            bias = torch.cat([torch.zeros(len(columns)), excluded.log()])  # -inf for none
            groups.append((rows, torch.cat([columns + sum(keys[:style]), zeroed]), bias))
        return RegionAttention(tuple(groups))


class PublishedGuidance(Guidance):
    """The energies of the authors' code."""

    def route(self, job: StyleJob) -> Router:
        """Take the masks of every content region and of its match from the region maps."""
        return ZeroMaskRouter(drop_unused(job), self._models.device)

    def style_energy(
        self, step: GuidanceStep, targets: LayerTargets, name: str, layer: LayerRecord
    ) -> Tensor:
        """Return the sum () of all content regions' style losses in one layer.

        In float32, to which the authors' float32 masks promote half precision.
        """
        keys, values = zip(*(style[name] for style in targets.styles), strict=True)
        routing = targets.router.at(layer.query.shape[2], [k.shape[2] for k in keys])
        key, value = (F.pad(torch.cat(p, dim=2).float(), (0, 0, 0, 1)) for p in (keys, values))
        query, output = layer.query.detach().float(), layer.output.float()
        scale = self.params.attention.attention_scale
        target = style_target(query, key, value, torch.zeros_like(output), routing, scale)
        return style_energy(output, target) + _loss_outside(value, routing, output.shape[2])


def _loss_outside(value: Tensor, routing: RegionAttention, queries: int) -> Tensor:
    """Return the loss () that the code counts for queries outside their region.

    A query multiplied by zero attends evenly to all keys, and the result is compared with zero.
    The loss depends on no latent, so it has no gradient.
    """
    loss = value.new_zeros(())
    for rows, columns, bias in routing.groups:
        if bias is not None:  # 1 for each remaining key, and the number of zeroed ones
            even = value[:, :, columns].sum(dim=2) / bias.exp().sum()
            outside = 1 - value.new_ones(queries)[rows].sum() / queries
            loss += outside * even.abs().mean()
    return loss


def _nearest_labels(image: PreparedImage, tokens: int) -> Tensor:
    grid = grid_size(tokens, (int(image.latent.shape[-2]), int(image.latent.shape[-1])))
    return paper.nearest(image.regions.labels, grid).flatten()


class PublishedOptimiseSampler(OptimiseSampler):
    """Minimizes the published energies by Adam, one step per timestep.

    Nothing is random, so seeds have no effect. The start is meant for the four channels of SD
    1.x: an autoencoder with more of them decodes it with blocks. As published, features are read
    at every step unless `anchors` is set.
    """

    guidance = PublishedGuidance

    def start(self, job: StyleJob) -> Tensor:
        """Return the inverted content (1, C, h, w) with its style removed."""
        # One job per call: where a cell's channels are nearly equal, normalizing amplifies the
        # rounding that depends on the batch size.
        latent = job.content.latent.to(self.models.device)
        path = inverted_latents(self.models, latent, self.params.regions.inversion_steps)
        return paper.remove_style(path[-1])

    def finish(self, start: Tensor, latent: Tensor, jobs: list[StyleJob]) -> Tensor:
        """Return the latent as it is."""
        return latent


class PublishedGuidedSampler(GuidedSampler):
    """Guided sampling with the published energies."""

    guidance = PublishedGuidance


class PublishedMethod(RegionFinder):
    """The authors' regions and matching."""

    samplers: ClassVar[Samplers] = {
        "optimise": PublishedOptimiseSampler,
        "guided": PublishedGuidedSampler,
    }

    def segment(self, features: ImageFeatures) -> RegionMap:
        """Cluster UNet features alone, or merge SAM's segments alone.

        The authors' code always uses depth; here, without a depth model, regions are neither
        split nor kept apart by depth. With SAM's segments neither features nor depth are used:
        segments with similar latents merge, and all cells without a mask are one more segment.
        """
        latent, priors, params = features.latent[0].cpu(), features.priors, self.params.regions
        if priors.segments is not None:
            empty = torch.zeros(features.grid, dtype=torch.int64)
            labels = paper.apply_user_mask(empty, priors.segments)  # nearest cell, like user masks
            labels = merge_regions(labels, latent, _SEGMENTS_MERGE)
        else:
            tokens = principal_components(features.unet[0].cpu().flatten(1).T)
            labels = cluster(tokens, params.max_regions).reshape(features.grid)
            labels = merge_regions(labels, latent, params.merge_threshold)
            if priors.depth is not None:
                labels = split_by_depth(labels, priors.depth, DEPTH_SPAN)
                labels = merge_regions(labels, latent, _DEPTH_MERGE, priors.depth, DEPTH_LOCK)
        labels = paper.clean_small_regions(labels, params.min_region_fraction * labels.numel())
        if priors.labels is not None:
            labels = paper.apply_user_mask(labels, priors.labels)
        return RegionMap.numbered(labels)

    def match(self, request: MatchRequest) -> Correspondence:
        """Give every content region the most similar region of all references.

        Cosines are not centered, each region chooses for itself, and every match is accepted. Of
        the statistics only the mean is compared, as the published variance is too small to
        matter. The code has no weights of references, so they are not used.
        """
        content, styles, weights = request.content, request.styles, self.params.matching
        channels = content.statistical.shape[1] // 2
        semantic = _cosine(content.semantic, torch.cat([s.semantic for s in styles]))
        statistical = _cosine(
            content.statistical[:, :channels],
            torch.cat([s.statistical[:, :channels] for s in styles]),
        )
        geometric = circle_iou(content.circle, torch.cat([s.circle for s in styles]))
        total = (
            weights.semantic_weight * semantic
            + weights.statistical_weight * statistical
            + weights.geometric_weight * geometric
        )
        best, pinned = pin_regions(total.argmax(dim=1), styles, request.pins)
        return build_correspondence(
            content,
            styles,
            Similarity(semantic, statistical, geometric, total),
            table=hard_log_weights(best, total.shape[1]),
            prior=torch.zeros(total.shape[1]),
            best=best,
            pinned=pinned,
            fallback=tuple("none" for _ in best),
        )


def _cosine(first: Tensor, second: Tensor) -> Tensor:
    return F.normalize(first, dim=1) @ F.normalize(second, dim=1).T
