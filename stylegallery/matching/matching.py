"""Like goes to like: match content regions to regions of several references."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from schemas.params import StyleParams
from schemas.result import FallbackUsed
from stylegallery.matching.correspondence import Correspondence, Pin, hard_log_weights, pinned_index
from stylegallery.regions.descriptors import Descriptors, circle_iou

TEMPERATURE = 0.3
_ROUNDS = 200
Similarities = tuple[Tensor, Tensor, Tensor, Tensor]
"""Semantic, statistical, geometric and total similarity, each (R, S)."""


def transport_plan(similarity: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return the entropic transport plan between two sets of shares (Sinkhorn).

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
    for _ in range(_ROUNDS):
        left = log_rows - (kernel + right).logsumexp(dim=1)
        right = log_columns - (kernel + left[:, None]).logsumexp(dim=0)
    return (kernel + left[:, None] + right).exp().float()


def transport_log_weights(
    similarity: Tensor, rows: Tensor, columns: Tensor, strength: float
) -> tuple[Tensor, Tensor]:
    """Return attention biases (R, S) and the main match (R,) of every content region.

    Every style region is used in proportion to its area, so that the regions cannot all
    collapse on one (METHOD 3.0b). The bias is `strength` times the log of the plan's density
    ratio P / (a b): 0 where the plan has no preference; strength 0 is attention distillation,
    a large one the hard region method.
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
    """Find for every content region the regions of the references that it takes style from.

    Similarity is the published sum of a semantic, a statistical and a geometric term, on
    features centred within each side (the mean of uncentred tokens is alike everywhere, METHOD
    1.5 W6), less a penalty for mixing figure and ground (METHOD 3.0b).

    Args:
        content: Descriptors of the content's R regions.
        styles: Descriptors of each reference, in order; S regions in all.
        params: Weights of the terms, the gate, the fallback and the kind of routing.
        weights: Weight of each reference; equal when None.
        pins: The user's decisions, which win over all else.

    Raises:
        BadRouting: a pin names a region that does not exist.
    """
    parts = _similarities(content, styles, params)
    total, prior = parts[-1], log_prior(styles, weights)
    if params.routing == "hard":
        best = total.argmax(dim=1)
        table = hard_log_weights(best, total.shape[1])
    else:
        share = _areas(styles) * prior.exp()
        table, best = transport_log_weights(
            total, content.area, share / share.sum(), params.routing_strength
        )
        table = table + prior
    found = routed(content, styles, parts, table, prior, best, pins)
    return replace(found, fallback=_apply_gate(found, params))


def match_whole(
    content: Descriptors,
    styles: list[Descriptors],
    params: StyleParams,
    weights: list[float] | None = None,
    pins: list[Pin] | None = None,
) -> Correspondence:
    """Let every content region take style from all references at once, in their weights.

    The arguments are those of :func:`match`; similarity is only reported.

    Raises:
        BadRouting: a pin names a region that does not exist.
    """
    parts = _similarities(content, styles, params)
    prior = log_prior(styles, weights)
    table = prior.expand(len(content.area), -1).clone()
    found = routed(content, styles, parts, table, prior, parts[-1].argmax(dim=1), pins)
    return replace(found, fallback=tuple("global" for _ in content.area))


def routed(
    content: Descriptors,
    styles: list[Descriptors],
    parts: Similarities,
    table: Tensor,
    prior: Tensor,
    best: Tensor,
    pins: list[Pin] | None,
) -> Correspondence:
    """Put a correspondence together; pins overwrite `table` and `best` in place.

    Args:
        content: Descriptors of the content's R regions.
        styles: Descriptors of each reference, S regions in all.
        parts: Semantic, statistical, geometric and total similarity.
        table: (R, S) log weights.
        prior: (S,) log weight of the reference of each style region.
        best: (R,) main match of each region.
        pins: The user's decisions.

    Raises:
        BadRouting: a pin names a region that does not exist.
    """
    counts = tuple(len(style.area) for style in styles)
    pinned = torch.zeros(len(best), dtype=torch.bool)
    for pin in pins or []:
        index = pinned_index(pin, len(best), counts)
        best[pin.region], pinned[pin.region] = index, True
        table[pin.region] = hard_log_weights(torch.tensor([index]), table.shape[1])[0]
    return Correspondence(
        log_weights=table,
        log_prior=prior,
        style_regions=counts,
        best=best,
        scores=torch.stack([part.gather(1, best[:, None])[:, 0] for part in parts], dim=1),
        fallback=tuple("none" for _ in best),
        pinned=pinned,
        area=content.area,
        centroid=content.circle[:, :2],
    )


def log_prior(styles: list[Descriptors], weights: list[float] | None) -> Tensor:
    """Return for every style region (S,) the log weight of its reference; 0 when None."""
    factors = torch.tensor(weights or [1.0] * len(styles))
    return factors.log().repeat_interleave(torch.tensor([len(style.area) for style in styles]))


def _areas(styles: list[Descriptors]) -> Tensor:
    return torch.cat([style.area for style in styles])


def _similarities(
    content: Descriptors, styles: list[Descriptors], params: StyleParams
) -> Similarities:
    """Return semantic, statistical, geometric and total similarity, each (R, S)."""
    area = _areas(styles)
    semantic = _centred_cosine(
        content.semantic, content.area, torch.cat([s.semantic for s in styles]), area
    )
    statistical = _centred_cosine(
        content.statistical, content.area, torch.cat([s.statistical for s in styles]), area
    )
    geometric = circle_iou(content.circle, torch.cat([s.circle for s in styles]))
    contact = torch.cat([s.contact for s in styles])
    total = (
        params.semantic_weight * semantic
        + params.statistical_weight * statistical
        + params.geometric_weight * geometric
        - params.ground_weight * (content.contact[:, None] - contact[None]).abs()
    )
    return semantic, statistical, geometric, total


def _centred_cosine(first: Tensor, area: Tensor, second: Tensor, other_area: Tensor) -> Tensor:
    """Cosine (R, S) after taking the area-weighted mean of each side away from it.

    The two sides differ as a whole (a photo against a painting); what matters is how a region
    differs from the rest of its own side.
    """
    one = first - (area / area.sum()) @ first
    two = second - (other_area / other_area.sum()) @ second
    return F.normalize(one, dim=1, eps=1e-6) @ F.normalize(two, dim=1, eps=1e-6).T


def _apply_gate(found: Correspondence, params: StyleParams) -> tuple[FallbackUsed, ...]:
    """Overwrite the rows of the table whose best match is too poor; say what each row got."""
    used: list[FallbackUsed] = []
    for region, score in enumerate(found.scores[:, -1].tolist()):
        if found.pinned[region] or score >= params.min_similarity:
            used.append("none")
            continue
        found.log_weights[region] = found.log_prior if params.fallback == "global" else -torch.inf
        used.append(params.fallback)
    return tuple(used)
