"""StyleID: what it plays back, and what its two parameters and several references do."""

import pytest
import torch
from torch import Tensor

from schemas.params import StyleParams
from stylegallery import PreparedImage, StyleGallery
from stylegallery.guidance.attention_cache import AttentionCache
from stylegallery.methods.styleid import InjectionSampler, adain
from stylegallery.models.inversion import inverted_latents
from stylegallery.types import StyleJob
from tests.stylegallery.conftest import figure_on_ground

RED, BLUE, GREEN = (0.9, 0.1, 0.1), (0.1, 0.2, 0.9), (0.1, 0.7, 0.2)
STEPS = 5


def settings(**chosen: float) -> StyleParams:
    given = {"steps": STEPS, "image_size": 64, "inversion_steps": 2, **chosen}
    return StyleParams.model_validate({"method": "styleid", **given})


@pytest.fixture(scope="module")
def images(engine: StyleGallery) -> list[PreparedImage]:
    """A photo and two references, each of another shape."""
    return [
        engine.prepare(figure_on_ground(72, 64, RED, BLUE), settings()),
        engine.prepare(figure_on_ground(64, 96, GREEN, RED, seed=2), settings()),
        engine.prepare(figure_on_ground(64, 64, BLUE, GREEN, seed=3), settings()),
    ]


def played(
    engine: StyleGallery,
    content: PreparedImage,
    styles: list[PreparedImage],
    weights: list[float] | None = None,
    **chosen: float,
) -> Tensor:
    params = settings(**chosen)
    routing = engine.match(content, styles, params, weights)
    job = StyleJob(content, styles, routing)
    (made,) = InjectionSampler(engine.models, params, AttentionCache()).sample([job])
    assert made.trace == ()
    return made.latent


def distance(first: Tensor, second: Tensor) -> float:
    return float((first - second).abs().mean())


def test_a_photo_in_its_own_style_is_its_reconstruction(
    engine: StyleGallery, images: list[PreparedImage]
) -> None:
    models, (content, style, _) = engine.models, images
    schedule, latent = models.schedule(STEPS), inverted_latents(models, content.latent, STEPS)[-1]
    for timestep in schedule.timesteps.tolist():
        latent = schedule.step(models.denoise(latent, timestep), timestep, latent).prev_sample
    own = played(engine, content, [content], attention_scale=1.0, query_preservation=1.0)
    other = played(engine, content, [style], attention_scale=1.0)
    # what was kept is from one step earlier, so a little is lost
    assert distance(own, latent) < 0.2 * distance(other, latent)


def test_nothing_is_injected_in_the_first_step(
    engine: StyleGallery, images: list[PreparedImage]
) -> None:
    models, (content, style, _) = engine.models, images
    params = settings(steps=1)
    routing = engine.match(content, [style], params)
    start, noisy = (inverted_latents(models, image.latent, 1)[-1] for image in (content, style))
    latent, schedule = adain(start, [noisy], content, [style], routing), models.schedule(1)
    timestep = int(schedule.timesteps[0])
    plain = schedule.step(models.denoise(latent, timestep), timestep, latent).prev_sample
    assert torch.allclose(played(engine, content, [style], steps=1), plain, atol=1e-5)


def test_the_start_takes_mean_and_deviation_of_the_reference(
    engine: StyleGallery, images: list[PreparedImage]
) -> None:
    content, style, _ = images
    routing = engine.match(content, [style], settings())
    toned = adain(content.latent, [style.latent], content, [style], routing)
    for statistic in (torch.mean, torch.std):
        found, wanted = (statistic(x, dim=(2, 3)) for x in (toned, style.latent))
        assert torch.allclose(found, wanted, rtol=0.02, atol=1e-3)


def test_query_preservation_and_attention_scale_are_used(
    engine: StyleGallery, images: list[PreparedImage]
) -> None:
    content, style, _ = images
    usual = played(engine, content, [style])
    assert distance(usual, played(engine, content, [style], query_preservation=0.0)) > 1e-4
    assert distance(usual, played(engine, content, [style], attention_scale=4.0)) > 1e-4


def test_a_reference_given_twice_counts_once(
    engine: StyleGallery, images: list[PreparedImage]
) -> None:
    content, style, _ = images
    once, twice = (played(engine, content, [style] * times) for times in (1, 2))
    assert torch.allclose(once, twice, atol=1e-4)


def test_references_count_by_their_weight(
    engine: StyleGallery, images: list[PreparedImage]
) -> None:
    content, *styles = images
    first = played(engine, content, styles[:1])
    both = played(engine, content, styles)
    tilted = played(engine, content, styles, weights=[1.0, 1e-6])
    assert torch.allclose(tilted, first, atol=1e-3)
    assert distance(both, first) > 10 * distance(tilted, first)
