"""Match content regions to similar regions of several references."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from schemas.param_groups import MatchingParams
from schemas.params import StyleParams
from schemas.result import FallbackUsed
from stylegallery.matching.correspondence import Correspondence, Pin, hard_log_weights, pinned_index
from stylegallery.regions.descriptors import Descriptors, circle_iou

TEMPERATURE = 0.3
_ITERATIONS = 200


class Similarity(NamedTuple):
    """Similarity (R, S) of content regions to style regions: three terms and their sum."""

    semantic: Tensor
    statistical: Tensor
    geometric: Tensor
    total: Tensor


def transport_plan(similarity: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return the entropic optimal transport plan between two distributions.

    Sinkhorn iterations in the log domain (Cuturi, arXiv 1306.0895).

    Args:
        similarity: (R, S) gain of moving a unit from r to s.
        rows: (R,) shares of the content regions, summing to 1.
        columns: (S,) shares of the style regions, summing to 1.

    Returns:
        (R, S), non-negative, with these row and column sums.
    """
    kernel = similarity.double() / TEMPERATURE
    log_rows, log_columns = rows.double().log(), columns.double().log()
    left, right = torch.zeros_like(log_rows), torch.zeros_like(log_columns)
    for _ in range(_ITERATIONS):
        left = log_rows - (kernel + right).logsumexp(dim=1)
        right = log_columns - (kernel + left[:, None]).logsumexp(dim=0)
    return (kernel + left[:, None] + right).exp().float()


def transport_log_weights(
    similarity: Tensor, rows: Tensor, columns: Tensor, strength: float
) -> tuple[Tensor, Tensor]:
    """Return attention biases (R, S) and the main match (R,) of every content region.

    The plan uses every style region in proportion to its share, so regions cannot all choose the
    same one. The bias is `strength` times the log of the plan's density ratio P / (a b), which is
    0 where the plan has no preference. Strength 0 is attention distillation; a large strength
    approaches hard routing.

    Args:
        similarity: (R, S).
        rows: (R,) shares a of the content regions, summing to 1.
        columns: (S,) shares b of the style regions, summing to 1.
        strength: Factor on the biases, from 0.
    """
    plan = transport_plan(similarity, rows, columns)
    density = plan.clamp(min=1e-12) / (rows[:, None] * columns[None])
    return strength * density.log(), plan.argmax(dim=1)


def match(
    content: Descriptors,
    styles: list[Descriptors],
    params: StyleParams,
    weights: list[float] | None = None,
    pins: list[Pin] | None = None,
) -> Correspondence:
    """Return for every content region the style regions that it takes its style from.

    Similarity is StyleGallery's sum of a semantic, a statistical and a geometric term (arXiv
    2603.10354), less a penalty for mixing figure and ground. Features are centered within each
    side, because the mean features of any two regions are similar otherwise.

    Args:
        content: Descriptors of the content's R regions.
        styles: Descriptors of each reference, in order; S regions in all.
        params: Weights of the terms, gate, fallback and kind of routing.
        weights: Weight of each reference; equal when None.
        pins: The user's decisions, which override everything else.

    Raises:
        BadRouting: a pin names a region that does not exist.
    """
    similarity, prior = _similarity(content, styles, params.matching), log_prior(styles, weights)
    total = similarity.total
    routing, gate = params.regional_attention, params.matching
    if routing.routing == "hard":
        best = total.argmax(dim=1)
        table = hard_log_weights(best, total.shape[1])
    else:
        share = _areas(styles) * prior.exp()
        table, best = transport_log_weights(
            total, content.area, share / share.sum(), routing.routing_strength
        )
        table = table + prior
    best, pinned = pin_regions(best, styles, pins)
    poor = ~(_scores(total, best).double() >= gate.min_similarity)  # NaN is poor as well
    fallback: tuple[FallbackUsed, ...] = tuple(
        gate.fallback if gated else "none" for gated in (poor & ~pinned).tolist()
    )
    instead = prior if gate.fallback == "global" else torch.full_like(prior, -torch.inf)
    table = torch.where(poor[:, None], instead, table)
    return build_correspondence(
        content, styles, similarity, table, prior, best=best, pinned=pinned, fallback=fallback
    )


def match_whole(
    content: Descriptors,
    styles: list[Descriptors],
    weights: list[float] | None = None,
    pins: list[Pin] | None = None,
) -> Correspondence:
    """Let every content region take style from all references, by their weights.

    The arguments are those of :func:`match`. No features are compared: the main match is in the
    reference of the largest weight, and of the scores only the geometric one is not 0.

    Raises:
        BadRouting: a pin names a region that does not exist.
    """
    prior = log_prior(styles, weights)
    place = circle_iou(content.circle, torch.cat([style.circle for style in styles]))
    none = torch.zeros_like(place)
    similarity = Similarity(none, none, place, place)
    heaviest = prior.argmax().repeat(len(place))
    best, pinned = pin_regions(heaviest, styles, pins)
    table = prior.expand(len(best), -1)
    fallback: tuple[FallbackUsed, ...] = tuple("global" for _ in best)
    return build_correspondence(
        content, styles, similarity, table, prior, best=best, pinned=pinned, fallback=fallback
    )


def pin_regions(
    best: Tensor, styles: list[Descriptors], pins: list[Pin] | None
) -> tuple[Tensor, Tensor]:
    """Return the main matches (R,) with the user's pins, and which regions are pinned (R,) bool.

    Raises:
        BadRouting: a pin names a region that does not exist.
    """
    best, pinned = best.clone(), torch.zeros(len(best), dtype=torch.bool)
    counts = _region_counts(styles)
    for pin in pins or []:
        index = pinned_index(pin, len(best), counts)
        best[pin.region], pinned[pin.region] = index, True
    return best, pinned


def build_correspondence(
    content: Descriptors,
    styles: list[Descriptors],
    similarity: Similarity,
    table: Tensor,
    prior: Tensor,
    *,
    best: Tensor,
    pinned: Tensor,
    fallback: tuple[FallbackUsed, ...],
) -> Correspondence:
    """Build a correspondence; pinned regions are routed to their main match alone.

    Args:
        content: Descriptors of the content's R regions.
        styles: Descriptors of each reference; S regions in all.
        similarity: Of the regions.
        table: (R, S) log weights.
        prior: (S,) log weight of the reference of each style region.
        best: (R,) main match of each region.
        pinned: (R,) bool, from :func:`pin_regions`.
        fallback: What each region takes instead of its match, or `none`.
    """
    hard = hard_log_weights(best, table.shape[1])
    return Correspondence(
        log_weights=torch.where(pinned[:, None], hard, table),
        log_prior=prior,
        style_regions=_region_counts(styles),
        best=best,
        scores=torch.stack([_scores(term, best) for term in similarity], dim=1),
        fallback=fallback,
        pinned=pinned,
        area=content.area,
        centroid=content.circle[:, :2],
    )


def log_prior(styles: list[Descriptors], weights: list[float] | None) -> Tensor:
    """Return for every style region (S,) the log weight of its reference; 0 without weights."""
    factors = torch.tensor(weights or [1.0] * len(styles))
    return factors.log().repeat_interleave(torch.tensor(_region_counts(styles)))


def _region_counts(styles: list[Descriptors]) -> tuple[int, ...]:
    return tuple(len(style.area) for style in styles)


def _areas(styles: list[Descriptors]) -> Tensor:
    return torch.cat([style.area for style in styles])


def _scores(term: Tensor, best: Tensor) -> Tensor:
    """Return a term of the similarity (R, S) at the main matches, (R,)."""
    return term.gather(1, best[:, None])[:, 0]


def _similarity(
    content: Descriptors, styles: list[Descriptors], weights: MatchingParams
) -> Similarity:
    area = _areas(styles)
    semantic = _centered_cosine(
        content.semantic, content.area, torch.cat([s.semantic for s in styles]), area
    )
    statistical = _centered_cosine(
        content.statistical, content.area, torch.cat([s.statistical for s in styles]), area
    )
    geometric = circle_iou(content.circle, torch.cat([s.circle for s in styles]))
    contact = torch.cat([s.contact for s in styles])
    total = (
        weights.semantic_weight * semantic
        + weights.statistical_weight * statistical
        + weights.geometric_weight * geometric
        - weights.ground_weight * (content.contact[:, None] - contact[None]).abs()
    )
    return Similarity(semantic, statistical, geometric, total)


def _centered_cosine(first: Tensor, area: Tensor, second: Tensor, other_area: Tensor) -> Tensor:
    """Return the cosine (R, S) after subtracting each side's area-weighted mean.

    A photo and a painting differ as a whole; what matters is how a region differs from the rest
    of its own image.
    """
    one = first - (area / area.sum()) @ first
    two = second - (other_area / other_area.sum()) @ second
    return F.normalize(one, dim=1, eps=1e-6) @ F.normalize(two, dim=1, eps=1e-6).T
