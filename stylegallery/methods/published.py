"""The method `stylegallery-paper`: regions, matching and energies as published, flaws included.

It puts the functions of :mod:`stylegallery.methods.paper` end to end, to compare the corrected
method against. Left out is what cannot be had: the transformer that the published code sends region
statistics through has random weights, differing from run to run, and so means nothing (METHOD 1.5,
W4); and images keep their aspect instead of being squashed to a square.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from schemas.params import StyleParams
from stylegallery.guidance.attention_cache import AttentionBank
from stylegallery.guidance.guidance import Guidance
from stylegallery.guidance.loss_trace import OnStep
from stylegallery.matching.correspondence import Correspondence, Pin, hard_log_weights
from stylegallery.matching.matching import routed
from stylegallery.methods import paper
from stylegallery.methods.zerofill import PublishedGuidance
from stylegallery.models.diffusion import Models
from stylegallery.models.inversion import inverted
from stylegallery.regions.clustering import (
    DEPTH_LOCK,
    DEPTH_SPAN,
    cluster,
    merge_regions,
    principal_components,
    split_by_depth,
)
from stylegallery.regions.descriptors import Descriptors, circle_iou
from stylegallery.regions.priors import NO_PRIORS, SegmentationPriors
from stylegallery.regions.region_map import RegionMap
from stylegallery.sampling.optimise import Restyled, descend
from stylegallery.types import Job

_DEPTH_MERGE, _SEGMENTS_MERGE = 0.35, 0.5


def segment(
    features: Tensor,
    semantic: Tensor,
    latent: Tensor,
    params: StyleParams,
    priors: SegmentationPriors = NO_PRIORS,
) -> RegionMap:
    """Find regions by UNet features alone, or by SAM's segments alone (METHOD 1.1).

    The published code always uses depth; here, without it, regions are neither split by depth nor
    kept apart by it. With segments neither features nor depth play a part: the segments that look
    alike merge, and all places without a mask are one more of them.

    Args:
        features: F_mix (1, C', h, w).
        semantic: Not used: the semantic features play a part in matching only.
        latent: (1, C, h, w) clean latent on the same grid.
        params: `max_regions`, `merge_threshold` and `min_region_fraction` are used.
        priors: The user's labels, depth and segments, as far as they are known.

    Returns:
        The region map on the (h, w) grid.
    """
    grid, clean = latent.shape[-2:], latent[0].cpu()
    if priors.segments is not None:
        nothing = torch.zeros(grid, dtype=torch.int64)
        labels = paper.apply_user_mask(nothing, priors.segments)  # nearest cell, as the user's
        labels = merge_regions(labels, clean, _SEGMENTS_MERGE)
    else:
        tokens = principal_components(features[0].cpu().flatten(1).T)
        labels = cluster(tokens, params.max_regions).reshape(grid)
        labels = merge_regions(labels, clean, params.merge_threshold)
        if priors.depth is not None:
            labels = split_by_depth(labels, priors.depth, DEPTH_SPAN)
            labels = merge_regions(labels, clean, _DEPTH_MERGE, priors.depth, DEPTH_LOCK)
    labels = paper.clean_small_regions(labels, params.min_region_fraction * labels.numel())
    if priors.labels is not None:
        labels = paper.apply_user_mask(labels, priors.labels)
    return RegionMap.numbered(labels)


def match(
    content: Descriptors,
    styles: list[Descriptors],
    params: StyleParams,
    weights: list[float] | None = None,
    pins: list[Pin] | None = None,
) -> Correspondence:
    """Give every content region the most similar region of all references (METHOD 1.2).

    Cosines are not centred, each region chooses for itself, and no match is too poor. Of the
    statistics the mean is compared; the published variance is too small to count beside it.

    Args:
        content: Descriptors of the content's R regions.
        styles: Descriptors of each reference, in order; S regions in all.
        params: The three terms' weights are used.
        weights: Not used: the published method knows no weights of references.
        pins: The user's decisions, which win over all else.

    Raises:
        BadRouting: a pin names a region that does not exist.
    """
    semantic = _cosine(content.semantic, torch.cat([s.semantic for s in styles]))
    channels = content.statistical.shape[1] // 2
    statistical = _cosine(
        content.statistical[:, :channels], torch.cat([s.statistical[:, :channels] for s in styles])
    )
    geometric = circle_iou(content.circle, torch.cat([s.circle for s in styles]))
    total = (
        params.semantic_weight * semantic
        + params.statistical_weight * statistical
        + params.geometric_weight * geometric
    )
    best = total.argmax(dim=1)
    table = hard_log_weights(best, total.shape[1])
    parts, alike = (semantic, statistical, geometric, total), torch.zeros(total.shape[1])
    return routed(content, styles, parts, table, alike, best, pins)


def optimise(
    models: Models,
    jobs: list[Job],
    params: StyleParams,
    bank: AttentionBank,
    on_step: OnStep | None = None,
    kind: type[Guidance] = PublishedGuidance,
) -> Restyled:
    """Descend the published energies by Adam, one step a timestep (METHOD 1.3).

    The start is the content inverted to the last of `inversion_steps`, its style removed; the
    latent itself is the result. Nothing is random, so seeds are not used. Both are made for the
    four channels of SD 1.x: an autoencoder with more of them prints what is left as blocks.

    As published, images are looked at again at every step; `anchors` makes them fewer.

    Raises:
        DidNotConverge: a loss is not finite.
    """
    start = torch.cat([_start(models, job, params) for job in jobs])
    return descend(models, start, jobs, params, bank, on_step, kind)


def _start(models: Models, job: Job, params: StyleParams) -> Tensor:
    # alone: where a cell's channels are all but equal, their normalisation magnifies rounding
    path = inverted(models, job.content.latent.to(models.device), params.inversion_steps)
    return paper.remove_style(path[-1])


def _cosine(first: Tensor, second: Tensor) -> Tensor:
    return F.normalize(first, dim=1) @ F.normalize(second, dim=1).T
