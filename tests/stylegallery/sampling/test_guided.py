"""Energy-guided sampling: it follows the energies, and without them gives the photo back."""

from typing import Any

import pytest
import torch
from torch import Tensor

from schemas.methods import Method
from schemas.params import StyleParams
from stylegallery import RestyledImage, StyleGallery
from stylegallery.errors import DidNotConverge
from stylegallery.guidance import energies, guidance
from stylegallery.models.inversion import inverted_latents
from stylegallery.models.vae import decode
from tests.stylegallery.conftest import figure_on_ground

RED, BLUE, GREEN = (0.9, 0.1, 0.1), (0.1, 0.2, 0.9), (0.1, 0.7, 0.2)
METHODS: list[Method] = ["stylegallery", "stylegallery-paper", "attention-distillation"]


def guided(
    engine: StyleGallery, method: Method, seed: int = 0, **settings: object
) -> RestyledImage:
    params = StyleParams.model_validate(
        {
            "method": method,
            "sampler": "guided",
            "strength": 1.0,
            "image_size": 64,
            "inversion_steps": 2,
            "max_regions": 3,
            "steps": 6,
            "match_tone": False,
            "start_noise": 0.0,
            "form_floor": 0,
            **settings,
        }
    )
    content = engine.prepare(figure_on_ground(64, 72, RED, BLUE), params)
    styles = [engine.prepare(figure_on_ground(64, 64, GREEN, RED, seed=1), params)]
    return engine.stylize(content, styles, engine.match(content, styles, params), params, seed=seed)


@pytest.mark.parametrize("sampler", ["guided", "optimise"])
def test_guided_steps_see_as_many_keys_of_two_references_as_of_one(
    engine: StyleGallery, monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    settings = {"image_size": 64, "inversion_steps": 2, "steps": 4, "strength": 1.0}
    params = StyleParams.model_validate({"sampler": sampler, **settings})
    pictures = [figure_on_ground(64, 72, *pair) for pair in ((RED, BLUE), (GREEN, RED))]
    content, *styles = [engine.prepare(one, params) for one in (*pictures, pictures[0])]
    plain, seen = energies.style_target, []

    def counted(*arguments: Any) -> Tensor:
        queries, keys = (torch.arange(part.shape[2]) for part in arguments[:2])
        seen.append(sum(len(queries[q]) * len(keys[k]) for q, k, _ in arguments[4].groups))
        return plain(*arguments)

    monkeypatch.setattr(guidance, "style_target", counted)
    asked = []
    for several in (styles[:1], styles):
        routing = engine.match(content, several, params)
        engine.stylize(content, several, routing, params)
        asked.append(sum(seen))
        seen.clear()
    assert asked[1] == (1 if sampler == "guided" else 2) * asked[0]


@pytest.mark.parametrize("method", METHODS)
def test_guidance_lowers_the_energy(engine: StyleGallery, method: Method) -> None:
    led = guided(engine, method, learning_rate=0.1).trace
    free = guided(engine, method, learning_rate=1e-9).trace
    assert led[0] == free[0]
    assert led[0].timestep > led[-1].timestep
    assert led[-1].style_loss < free[-1].style_loss


def test_without_guidance_it_is_ddim_from_the_inverted_photo(engine: StyleGallery) -> None:
    models, params = engine.models, StyleParams(image_size=64, inversion_steps=2)
    content = engine.prepare(figure_on_ground(64, 72, RED, BLUE), params)
    schedule, latent = models.schedule(6), inverted_latents(models, content.latent, 6)[-1]
    for timestep in schedule.timesteps.tolist():
        latent = schedule.step(models.denoise(latent, timestep), timestep, latent).prev_sample
    free = guided(engine, "attention-distillation", learning_rate=1e-9).picture.pixels
    assert torch.allclose(free, decode(models, latent), atol=1e-4)


def test_strength_is_the_share_of_the_schedule_that_is_taken(engine: StyleGallery) -> None:
    whole, half = (guided(engine, "stylegallery", strength=share) for share in (1.0, 0.5))
    timesteps = [step.timestep for step in whole.trace]
    assert [step.timestep for step in half.trace] == timesteps[3:]
    assert {step.total for step in half.trace} == {3}
    least = guided(engine, "stylegallery", strength=0.01)
    assert [step.timestep for step in least.trace] == timesteps[-1:]
    assert least.trace[0].content_loss < half.trace[-1].content_loss


def test_the_seed_acts_through_the_start_noise(engine: StyleGallery) -> None:
    runs = [
        guided(engine, "stylegallery", seed=seed, steps=2, start_noise=noise).picture.pixels
        for seed, noise in ((1, 0.0), (2, 0.0), (1, 0.1), (2, 0.1))
    ]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[2], runs[3])


def test_it_starts_at_the_photo_in_its_matches_tone_and_compares_with_that(
    engine: StyleGallery,
) -> None:
    plain = guided(engine, "stylegallery", steps=2)
    toned = guided(engine, "stylegallery", steps=2, match_tone=True)
    assert max(plain.trace[0].content_loss, toned.trace[0].content_loss) < 1e-5
    assert plain.trace[0].style_loss != pytest.approx(toned.trace[0].style_loss, rel=1e-3)


def test_numbers_that_are_not_finite_are_reported(engine: StyleGallery) -> None:
    params = StyleParams(sampler="guided", image_size=64, inversion_steps=2, steps=2)
    content = engine.prepare(figure_on_ground(64, 64, RED, BLUE), params)
    routing = engine.match(content, [content], params)
    content.latent.fill_(torch.nan)
    with pytest.raises(DidNotConverge, match="not finite at step 0"):
        engine.stylize(content, [content], routing, params)
