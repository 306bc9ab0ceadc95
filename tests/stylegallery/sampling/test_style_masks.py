"""Masks of references: whose style a cell takes, and when."""

import pytest
import torch

from schemas.params import StyleParams
from stylegallery import StyleGallery, StyleJob
from stylegallery.matching.correspondence import Correspondence, Pin
from stylegallery.sampling.style_masks import (
    cell_masks,
    kept_regions,
    leading_shares,
    style_shares,
)
from tests.stylegallery.conftest import figure_on_ground

RED, BLUE, GOLD, TEAL = (0.9, 0.1, 0.1), (0.1, 0.2, 0.9), (0.9, 0.7, 0.1), (0.1, 0.6, 0.6)


@pytest.fixture(scope="module")
def job(engine: StyleGallery) -> StyleJob:
    """Two references of two unequal regions for a content of two."""
    params = StyleParams(image_size=64, inversion_steps=2, max_regions=3, scale=1)
    labels = torch.ones(96, 64, dtype=torch.int64)
    labels[40:] = 2
    content = engine.prepare(figure_on_ground(96, 64, RED, BLUE), params, labels)
    narrow, wide = torch.ones(96, 104, dtype=torch.int64), torch.ones(110, 96, dtype=torch.int64)
    narrow[:, :26] = 2
    wide[:80] = 2
    styles = [
        engine.prepare(figure_on_ground(96, 104, GOLD, BLUE, 3), params, narrow),
        engine.prepare(figure_on_ground(110, 96, TEAL, RED, 4), params, wide),
    ]
    assert all(style.descriptors.area.max() > 0.6 for style in styles)
    return StyleJob(content, styles, engine.match(content, styles, params))


def routed(engine: StyleGallery, job: StyleJob, *pins: Pin, **chosen: object) -> StyleJob:
    weights = chosen.pop("weights", None)
    params = StyleParams.model_validate({"scale": 1, **chosen})
    routing = engine.match(job.content, job.styles, params, weights, list(pins))  # type: ignore[arg-type]
    return StyleJob(job.content, job.styles, routing)


def test_a_region_has_the_reference_of_its_best_match(engine: StyleGallery, job: StyleJob) -> None:
    shares = style_shares(job, "regions")
    owners = [job.routing.locate(int(best))[0] for best in job.routing.best]
    assert shares.tolist() == [[float(owner == style) for style in (0, 1)] for owner in owners]
    pinned = routed(engine, job, Pin(0, 1, 0), Pin(1, 0, 0))
    for blend in ("regions", "even"):
        assert style_shares(pinned, blend).tolist() == [[0.0, 1.0], [1.0, 0.0]]


def test_references_blend_by_what_the_plan_moves(engine: StyleGallery, job: StyleJob) -> None:
    shares = style_shares(job, "even")
    assert torch.allclose(shares.sum(dim=1), torch.ones(2))
    assert ((shares > 0.01) & (shares < 0.99)).all()
    # The columns of the plan: each reference gives half of the picture.
    assert torch.allclose(job.routing.area @ shares, torch.tensor([0.5, 0.5]), atol=1e-4)
    heavy = routed(engine, job, weights=[3.0, 1.0])
    given = heavy.routing.area @ style_shares(heavy, "even")
    assert torch.allclose(given, torch.tensor([0.75, 0.25]), atol=1e-4)


def test_without_a_preference_references_blend_by_weight(
    engine: StyleGallery, job: StyleJob
) -> None:
    for blend in ("regions", "even"):
        gated = routed(engine, job, min_similarity=10, weights=[3.0, 1.0])
        assert gated.routing.fallback == ("global", "global")
        shares = style_shares(gated, blend)
        assert torch.allclose(shares, torch.tensor([[0.75, 0.25]] * 2), atol=1e-6)


def test_what_keeps_the_content_follows_the_plain_model(
    engine: StyleGallery, job: StyleJob
) -> None:
    gated = routed(engine, job, Pin(1, 1, 0), min_similarity=10, fallback="content")
    assert kept_regions(gated.routing).tolist() == [True, False]
    for blend in ("regions", "even"):
        shares = style_shares(gated, blend)
        assert shares.tolist() == [[0.0, 0.0], [0.0, 1.0]]
        masks = cell_masks(gated, shares)
        upper = gated.content.regions.labels == 0
        assert torch.equal(masks, torch.stack([upper, torch.zeros_like(upper), ~upper]).float())
    assert not kept_regions(job.routing).any()


def test_a_forbidden_reference_has_no_share(job: StyleJob) -> None:
    table = job.routing.log_weights.clone()
    table[:, : job.routing.style_regions[0]] = -torch.inf
    forbidden = Correspondence(**{**vars(job.routing), "log_weights": table})
    shares = style_shares(StyleJob(job.content, job.styles, forbidden), "even")
    assert shares.tolist() == [[0.0, 1.0], [0.0, 1.0]]


def led(progress: float, *shares: float) -> list[float]:
    return [
        round(share, 6) for share in leading_shares(torch.tensor([shares]), progress)[0].tolist()
    ]


def test_references_lead_for_their_share_and_the_largest_last() -> None:
    assert led(0.0, 0.5, 0.2, 0.3) == led(0.19, 0.5, 0.2, 0.3) == [0, 1, 0]
    assert led(0.21, 0.5, 0.2, 0.3) == led(0.49, 0.5, 0.2, 0.3) == [0, 0, 1]
    assert led(0.51, 0.5, 0.2, 0.3) == led(0.99, 0.5, 0.2, 0.3) == [1, 0, 0]


def test_equal_shares_lead_together() -> None:
    third = 1 / 3
    for progress in (0.0, 0.4, 0.99):
        assert led(progress, 0.5, 0.5) == [0.5, 0.5]
        assert led(progress, third, third + 1e-8, third) == [round(third, 6)] * 3
    assert led(0.1, 0.4, 0.2, 0.4) == [0, 1, 0]
    assert led(0.3, 0.4, 0.2, 0.4) == [0.5, 0, 0.5]


def test_a_single_share_always_leads_and_none_never() -> None:
    for progress in (0.0, 0.5, 0.99):
        assert led(progress, 1.0, 0.0) == [1, 0]
        assert led(progress, 0.0, 0.0) == [0, 0]


@pytest.mark.parametrize("seed", range(20))
def test_some_reference_leads_at_every_time(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    shares = torch.rand(6, 5, generator=generator).softmax(dim=1)
    order = torch.randperm(5, generator=generator)
    spent = torch.zeros(6, 5)
    for step in range(400):
        leading = leading_shares(shares, step / 400)
        assert torch.allclose(leading.sum(dim=1), torch.ones(6))
        assert torch.equal(leading[:, order], leading_shares(shares[:, order], step / 400))
        spent += leading / 400
    assert torch.allclose(spent, shares, atol=0.01)
