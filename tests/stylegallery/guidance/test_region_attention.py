"""References that nothing is taken from are left out, and nothing else changes."""

from dataclasses import replace

import pytest
import torch

from schemas.params import StyleParams
from stylegallery import PreparedImage, StyleGallery
from stylegallery.guidance.region_attention import Router, drop_unused
from stylegallery.matching.correspondence import Correspondence, Pin
from stylegallery.types import StyleJob
from tests.stylegallery.conftest import figure_on_ground

RED, BLUE, GREEN = (0.9, 0.1, 0.1), (0.1, 0.2, 0.9), (0.1, 0.7, 0.2)
QUICK = {"image_size": 64, "steps": 4, "inversion_steps": 2, "max_regions": 3, "merge_threshold": 0}
HARD = StyleParams.model_validate({**QUICK, "routing": "hard"})


@pytest.fixture(scope="module")
def images(engine: StyleGallery) -> list[PreparedImage]:
    sizes = [(64, 80, RED, BLUE, 1), (64, 64, GREEN, RED, 2), (80, 64, BLUE, GREEN, 3)]
    return [engine.prepare(figure_on_ground(*size), HARD) for size in sizes]


def pinned(engine: StyleGallery, images: list[PreparedImage], params: StyleParams) -> StyleJob:
    """All of the content takes its style from the second reference's regions."""
    content, *styles = images
    last = styles[1].regions.count - 1
    pins = [Pin(region, 1, last * (region % 2)) for region in range(content.regions.count)]
    return StyleJob(content, styles, engine.match(content, styles, params, pins=pins))


def test_references_that_won_nothing_are_dropped(
    engine: StyleGallery, images: list[PreparedImage]
) -> None:
    job = pinned(engine, images, HARD)
    kept = drop_unused(job)
    assert kept.styles == [images[2]]
    assert kept.routing.style_regions == (images[2].regions.count,)
    first = images[1].regions.count
    assert torch.equal(kept.routing.best, job.routing.best - first)
    assert torch.equal(kept.routing.log_weights, job.routing.log_weights[:, first:])
    keys = [int(image.latent[0, 0].numel()) for image in images[1:]]
    whole = Router(job, torch.device("cpu")).at(80, keys)
    part = Router(kept, torch.device("cpu")).at(80, keys[1:])
    for (asking, seen, _), (again, behind, _) in zip(whole.groups, part.groups, strict=True):
        assert torch.equal(torch.arange(80)[asking], torch.arange(80)[again])
        assert torch.equal(torch.arange(sum(keys))[seen], torch.arange(keys[1])[behind] + keys[0])


def test_soft_routing_keeps_all(engine: StyleGallery, images: list[PreparedImage]) -> None:
    content, *styles = images
    params = StyleParams.model_validate(QUICK)
    job = StyleJob(content, styles, engine.match(content, styles, params))
    kept = drop_unused(job)
    assert kept.styles == styles
    assert torch.equal(kept.routing.log_weights, job.routing.log_weights)


def test_a_content_that_is_to_stay_as_it_is_still_has_a_reference(
    engine: StyleGallery, images: list[PreparedImage]
) -> None:
    job = pinned(engine, images, HARD)
    table = torch.full_like(job.routing.log_weights, -torch.inf)
    routing: Correspondence = replace(job.routing, log_weights=table)
    assert drop_unused(replace(job, routing=routing)).styles == [images[2]]


@pytest.mark.parametrize("sampler", ["guided", "optimise"])
def test_nothing_is_computed_of_references_that_won_nothing(
    engine: StyleGallery, images: list[PreparedImage], calls: list[int], sampler: str
) -> None:
    settings = {
        **QUICK,
        "routing": "hard",
        "sampler": sampler,
        "match_tone": False,
        "settle_timestep": 0,
    }
    params = StyleParams.model_validate(settings)
    job = pinned(engine, images, params)
    made, counts = [], []
    for some in (drop_unused(job), job):
        calls.clear()
        fresh = StyleGallery(engine.models, engine.encoder)
        made.append(fresh.stylize(some.content, some.styles, some.routing, params).picture.pixels)
        counts.append(len(calls))
    assert torch.equal(*made)
    assert counts[0] == counts[1]
