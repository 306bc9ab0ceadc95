"""The method `stylegallery-paper`: regions, matching and energies as published, flaws included.

It puts the functions of :mod:`stylegallery.paper` end to end, to compare the corrected method
against. Left out is what cannot be had: the transformer that the published code sends region
statistics through has random weights, differing from run to run, and so means nothing (METHOD 1.5,
W4); and images keep their aspect instead of being squashed to a square.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from schemas.params import StyleParams
from stylegallery import paper
from stylegallery.attention import AttentionRecord, LayerRecord
from stylegallery.clustering import cluster, principal_components
from stylegallery.descriptors import circle_iou
from stylegallery.guidance import Guidance
from stylegallery.inversion import inverted
from stylegallery.matching import routed
from stylegallery.models import Models
from stylegallery.regions import RegionMap
from stylegallery.routing import Correspondence, Pin, hard_log_weights
from stylegallery.sampling import OnStep, descend
from stylegallery.types import Descriptors, PreparedImage, Step

_DEPTH_SPAN, _DEPTH_LOCK, _DEPTH_MERGE = 0.75, 0.3, 0.35


def segment(
    features: Tensor,
    semantic: Tensor,
    latent: Tensor,
    params: StyleParams,
    user_labels: Tensor | None = None,
    depth: Tensor | None = None,
) -> RegionMap:
    """Find regions by UNet features alone (METHOD 1.1).

    Args:
        features: F_mix (1, C', h, w).
        semantic: Not used: the semantic features play a part in matching only.
        latent: (1, C, h, w) clean latent on the same grid.
        params: `max_regions`, `merge_threshold` and `min_region_fraction` are used.
        user_labels: (H, W) int64 at any size; positive numbers are regions that the user fixes.
        depth: (h, w) in [0, 1] on the same grid, as :mod:`stylegallery.depth` gives it; without
            it, as by default, regions are neither split by depth nor kept apart by it.

    Returns:
        The region map on the (h, w) grid.
    """
    grid, clean = latent.shape[-2:], latent[0].cpu()
    tokens = principal_components(features[0].cpu().flatten(1).T)
    labels = cluster(tokens, params.max_regions).reshape(grid)
    labels = paper.merge_regions(labels, clean, params.merge_threshold)
    if depth is not None:
        labels = paper.split_by_depth(labels, depth, _DEPTH_SPAN)
        labels = paper.merge_regions(labels, clean, _DEPTH_MERGE, depth, _DEPTH_LOCK)
    labels = paper.clean_small_regions(labels, params.min_region_fraction * labels.numel())
    if user_labels is not None:
        labels = paper.apply_user_mask(labels, user_labels)
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
    return routed(content, styles, (semantic, statistical, geometric, total), table, best, pins)


class PublishedGuidance(Guidance):
    """The published energies: masks multiply instead of excluding (METHOD 1.3 and 1.5, W1)."""

    def __init__(
        self,
        models: Models,
        content: PreparedImage,
        styles: list[PreparedImage],
        routing: Correspondence,
        params: StyleParams,
        record: AttentionRecord,
    ) -> None:
        """Take the masks of every content region and of its match from the region maps."""
        super().__init__(models, content, styles, routing, params, record)
        self._scale = params.attention_scale
        own = content.regions.one_hot.to(models.device)
        matches = [routing.locate(index) for index in routing.best.tolist()]
        theirs = [styles[s].regions.one_hot[region].to(models.device) for s, region in matches]
        self._pairs = [
            (mask, style, other)
            for mask, (style, _), other in zip(own, matches, theirs, strict=True)
        ]

    def style_energy(
        self, layer: LayerRecord, content: LayerRecord, styles: list[LayerRecord]
    ) -> Tensor:
        """Return the sum () of all content regions' style losses in one layer."""
        query, output = layer.query.float(), layer.output.float()
        losses = [
            paper.style_loss(
                query,
                styles[s].key.float(),
                styles[s].value.float(),
                output,
                mask,
                other,
                self._scale,
            )
            for mask, s, other in self._pairs
        ]
        return torch.stack(losses).sum()


def optimise(
    models: Models,
    content: PreparedImage,
    styles: list[PreparedImage],
    routing: Correspondence,
    params: StyleParams,
    seed: int,
    on_step: OnStep | None = None,
) -> tuple[Tensor, tuple[Step, ...]]:
    """Descend the published energies by Adam, one step a timestep (METHOD 1.3).

    The start is the content inverted to the last of `inversion_steps`, its style removed; the
    latent itself is the result. Nothing is random, so `seed` is not used. Both are made for the
    four channels of SD 1.x: an autoencoder with more of them prints what is left as blocks.

    Returns:
        The latent (1, C, h, w) float32 and the losses of every step.

    Raises:
        DidNotConverge: a loss is not finite.
    """
    noisy = inverted(models, content.latent.to(models.device), params.inversion_steps)[-1]
    start = paper.remove_style(noisy)
    return descend(models, start, content, styles, routing, params, on_step, PublishedGuidance)


def _cosine(first: Tensor, second: Tensor) -> Tensor:
    return F.normalize(first, dim=1) @ F.normalize(second, dim=1).T
