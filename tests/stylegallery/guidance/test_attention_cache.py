"""What is kept of references saves UNet calls and changes nothing (oracle i)."""

import gc

import pytest
import torch

from schemas.params import LATER, StyleParams
from stylegallery import PreparedImage, StyleGallery
from stylegallery.guidance.attention_cache import AttentionCache, KeyValues
from stylegallery.guidance.guidance import anchor_timesteps, nearest_anchor
from tests.stylegallery.conftest import figure_on_ground

RED, BLUE, GREEN = (0.9, 0.1, 0.1), (0.1, 0.2, 0.9), (0.1, 0.7, 0.2)
QUICK = StyleParams(
    sampler="optimise", image_size=64, steps=6, inversion_steps=2, max_regions=3, **LATER
)


@pytest.fixture
def images(engine: StyleGallery) -> list[PreparedImage]:
    sizes = [(64, 80, RED, BLUE, 1), (64, 64, GREEN, RED, 2), (80, 64, BLUE, GREEN, 3)]
    return [engine.prepare(figure_on_ground(*size), QUICK) for size in sizes]


def kept(numbers: int) -> KeyValues:
    """So many float32 numbers, half of them keys."""
    return {"layer": (torch.zeros(numbers // 2), torch.zeros(numbers - numbers // 2))}


def restyled(
    engine: StyleGallery, images: list[PreparedImage], params: StyleParams
) -> torch.Tensor:
    found = engine.match(images[0], images[1:], params)
    return engine.stylize(images[0], images[1:], found, params).picture.pixels


def test_what_is_put_comes_back_until_the_image_goes(images: list[PreparedImage]) -> None:
    bank, there = AttentionCache(), kept(10)
    assert bank.get(images[0], (1, 0, "")) is None
    bank.put(images[0], (1, 0, ""), there)
    assert bank.get(images[0], (1, 0, "")) is there
    assert bank.get(images[0], (2, 0, "")) is None
    assert bank.get(images[1], (1, 0, "")) is None
    assert bank.nbytes == 40
    del images[0]
    gc.collect()
    bank.put(images[0], (1, 0, ""), kept(1))
    assert bank.nbytes == 4


def test_the_image_used_longest_ago_goes_first(images: list[PreparedImage]) -> None:
    bank = AttentionCache(budget=100)
    for image in images[:2]:
        bank.put(image, (1, 0, ""), kept(10))
    bank.get(images[0], (1, 0, ""))
    bank.put(images[2], (1, 0, ""), kept(10))
    assert [bank.get(image, (1, 0, "")) is None for image in images] == [False, True, False]
    assert bank.nbytes == 80


def test_an_image_too_large_for_the_bank_keeps_what_fits(images: list[PreparedImage]) -> None:
    bank = AttentionCache(budget=100)
    for timestep in (1, 2, 3):
        bank.put(images[0], (timestep, 0, ""), kept(10))
    views = [(1, 0, ""), (2, 0, ""), (3, 0, "")]
    assert [bank.get(images[0], view) is None for view in views] == [False, False, True]
    assert bank.nbytes == 80


@pytest.mark.parametrize("count", [0, 2])
def test_a_warm_bank_saves_calls_and_changes_no_byte(
    engine: StyleGallery, images: list[PreparedImage], calls: list[int], count: int
) -> None:
    params = StyleParams.model_validate({**QUICK.flat(), "anchors": count})
    calls.clear()
    cold = restyled(engine, images, params)
    first = len(calls)
    warm = restyled(engine, images, params)
    assert torch.equal(cold, warm)
    looks = count or params.steps
    assert first == params.steps + 3 * looks + 1  # latents, content and two references, settling
    assert len(calls) - first == params.steps + looks + 1


def test_denoising_inverts_and_looks_at_references_once(
    engine: StyleGallery, images: list[PreparedImage], calls: list[int]
) -> None:
    changes = {"sampler": "guided", "strength": 0.5, "match_tone": False}
    params = StyleParams.model_validate({**QUICK.flat(), **changes})
    calls.clear()
    cold = restyled(engine, images, params)
    first, taken = len(calls), 3
    warm = restyled(engine, images, params)
    assert torch.equal(cold, warm)
    assert first == taken + 2 * taken + 2 * 2 * taken  # inversion, steps and content, references
    assert len(calls) - first == taken + 2 * taken
    longer = StyleParams.model_validate({**params.flat(), "steps": 12, "strength": 0.25})
    calls.clear()
    restyled(engine, images, longer)
    assert len(calls) == first  # another schedule passes timesteps by other steps


@pytest.mark.parametrize(("count", "looks"), [(0, 6), (2, 2), (9, 6)])
def test_denoising_looks_at_anchors_alone(
    engine: StyleGallery, images: list[PreparedImage], calls: list[int], count: int, looks: int
) -> None:
    changes = {"sampler": "guided", "strength": 1.0, "match_tone": False, "anchors": count}
    params = StyleParams.model_validate({**QUICK.flat(), **changes})
    fresh, taken = StyleGallery(engine.models, engine.encoder), params.steps
    calls.clear()
    cold = restyled(fresh, images, params)
    assert len(calls) == taken + taken + looks + 2 * (taken + looks)
    calls.clear()
    assert torch.equal(cold, restyled(fresh, images, params))
    assert len(calls) == taken + taken + looks
    exact = params.model_copy(update={"anchors": 0})
    assert torch.equal(cold, restyled(fresh, images, exact)) == (looks == taken)


def test_anchors_lie_evenly_in_the_schedule() -> None:
    timesteps = list(range(990, -10, -10))
    assert anchor_timesteps(timesteps, 0) == anchor_timesteps(timesteps, 100) == []
    assert anchor_timesteps(timesteps, 200) == []
    assert anchor_timesteps(timesteps, 1) == [490]
    assert anchor_timesteps(timesteps, 4) == [870, 620, 370, 120]
    assert [nearest_anchor([870, 620], t) for t in (990, 746, 745, 744)] == [870, 870, 620, 620]
    assert nearest_anchor([870, 620], 1) == 620
    assert nearest_anchor([], 7) == 7


def test_as_many_anchors_as_steps_are_exact(
    engine: StyleGallery, images: list[PreparedImage]
) -> None:
    results = [
        restyled(engine, images, StyleParams.model_validate({**QUICK.flat(), "anchors": n}))
        for n in (0, 6, 1)
    ]
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
