"""Every method with every sampler, on models that predict noise and velocity."""

from itertools import product
from typing import get_args

import pytest
import torch
from pydantic import ValidationError

from schemas.engine import EngineSpec
from schemas.methods import METHODS, Method, Sampler
from schemas.params import LATER, StyleParams
from stylegallery import RestyledImage, StyleGallery
from stylegallery.guidance.attention_cache import AttentionCache
from stylegallery.methods.base import MatchRequest, RegionFinder
from stylegallery.methods.registry import method_class
from stylegallery.types import Step
from tests.stylegallery.conftest import figure_on_ground
from tests.tiny_model import write_tiny_sd21

RED, BLUE, GREEN = (0.9, 0.1, 0.1), (0.1, 0.2, 0.9), (0.1, 0.7, 0.2)
WAYS = [(method, way) for method in get_args(Method) for way in method_class(method).samplers]
QUICK = {
    **LATER,
    "image_size": 64,
    "steps": 2,
    "strength": 1.0,
    "inversion_steps": 2,
    "max_regions": 3,
    "merge_threshold": 0.0,
    # Adam makes a whole step of a gradient that cancels but for rounding. At a weight of 0.26
    # one cell of these pictures has such a gradient; here none has.
    "content_weight": 0.15,
    "adapter_rank": 2,
    "adapter_steps": 3,
}


@pytest.fixture(scope="module")
def velocity_engine(tmp_path_factory: pytest.TempPathFactory) -> StyleGallery:
    folder = write_tiny_sd21(tmp_path_factory.mktemp("models") / "sd21")
    return StyleGallery.load(EngineSpec(model=str(folder), device="cpu", dtype="float32"))


def restyle(
    engine: StyleGallery, params: StyleParams, size: tuple[int, int], seed: int = 0
) -> RestyledImage:
    content = engine.prepare(figure_on_ground(*size, RED, BLUE), params)
    styles = [
        engine.prepare(figure_on_ground(110, 96, BLUE, GREEN, seed=3), params),
        engine.prepare(figure_on_ground(96, 108, GREEN, RED, seed=4), params),
    ]
    routing = engine.match(content, styles, params)
    seen: list[Step] = []
    made = engine.stylize(content, styles, routing, params, seed=seed, on_step=seen.append)
    assert len(seen) == params.steps
    assert made.trace in ((), tuple(seen))
    return made


@pytest.mark.parametrize("method", get_args(Method))
def test_each_method_matches_in_its_own_way(engine: StyleGallery, method: Method) -> None:
    """Not one of them gives what another would, where they differ at all."""
    params = StyleParams.model_validate({**QUICK, "method": method})
    content = engine.prepare(figure_on_ground(64, 72, RED, BLUE), params)
    style = engine.prepare(figure_on_ground(110, 96, BLUE, GREEN, seed=3), params)
    found = engine.match(content, [style], params).rows(["s"])
    request = MatchRequest(content.descriptors, [style.descriptors])
    tables = {
        name: method_class(name)(engine.models, params, AttentionCache()).match(request).rows(["s"])
        for name in get_args(Method)
    }
    assert found == tables[method]
    if method in ("stylegallery", "stylegallery-paper"):
        assert tables["stylegallery"] != tables["stylegallery-paper"]


def test_the_table_holds_every_method_and_sampler() -> None:
    assert set(METHODS) <= set(get_args(Method))
    for method, sampler in product(get_args(Method), get_args(Sampler)):
        if sampler in method_class(method).samplers:
            StyleParams(method=method, sampler=sampler)
        else:
            with pytest.raises(ValidationError, match="has no sampler"):
                StyleParams(method=method, sampler=sampler)


@pytest.mark.parametrize(("method", "sampler"), WAYS)
def test_every_way_gives_the_size_of_the_photo_and_the_same_twice(
    engine: StyleGallery, method: Method, sampler: Sampler
) -> None:
    params = StyleParams(method=method, sampler=sampler, **QUICK)
    pixels = restyle(engine, params, (80, 60), seed=5).picture.pixels
    assert pixels.shape == (1, 3, 80, 60)
    assert pixels.isfinite().all()
    assert torch.equal(pixels, restyle(engine, params, (80, 60), seed=5).picture.pixels)


@pytest.mark.parametrize(("method", "sampler"), WAYS)
def test_every_way_works_on_a_model_that_predicts_velocity(
    velocity_engine: StyleGallery, method: Method, sampler: Sampler
) -> None:
    params = StyleParams(method=method, sampler=sampler, **QUICK)
    pixels = restyle(velocity_engine, params, (56, 96)).picture.pixels
    assert pixels.shape == (1, 3, 56, 96)
    assert pixels.isfinite().all()


@pytest.mark.parametrize(
    ("method", "sampler", "routing"),
    [(*way, "soft") for way in WAYS] + [("stylegallery", "optimise", "hard")],
)
def test_the_order_of_references_does_not_matter(
    engine: StyleGallery, method: Method, sampler: Sampler, routing: str
) -> None:
    params = StyleParams(method=method, sampler=sampler, routing=routing, **QUICK)
    content = engine.prepare(figure_on_ground(64, 80, RED, BLUE), params)
    styles = [
        engine.prepare(figure_on_ground(110, 96, BLUE, GREEN, seed=3), params),
        engine.prepare(figure_on_ground(96, 108, GREEN, RED, seed=4), params),
    ]
    assert (content.regions.count > 1) == issubclass(method_class(method), RegionFinder)
    made = [
        engine.stylize(content, order, engine.match(content, order, params), params)
        for order in (styles, styles[::-1])
    ]
    assert torch.allclose(*(one.picture.pixels for one in made), atol=2e-3)
    for first, other in zip(*(one.trace[:1] for one in made), strict=True):
        assert first.style_loss == pytest.approx(other.style_loss, abs=1e-5)
        assert first.content_loss == pytest.approx(other.content_loss, rel=1e-4)
