"""Which timesteps are visited, and how often."""

import pytest
from diffusers import EulerDiscreteScheduler
from pydantic import ValidationError

from schemas.methods import LCM_STEPS
from schemas.params import StyleParams
from schemas.presets import preset_params
from stylegallery import StyleGallery
from tests.stylegallery.conftest import figure_on_ground

RED, BLUE = (0.9, 0.1, 0.1), (0.1, 0.2, 0.9)


def test_lcm_visits_timesteps_it_was_distilled_on(engine: StyleGallery) -> None:
    found = engine.models.timesteps(28, "lcm")
    assert len(set(found)) == 28
    assert found == sorted(found, reverse=True)
    assert set(found) <= {20 * k - 1 for k in range(1, LCM_STEPS + 1)}
    assert found[0] == 999


def test_hyper_visits_what_a_trailing_euler_schedule_does(engine: StyleGallery) -> None:
    config = engine.models.scheduler.config
    euler = EulerDiscreteScheduler.from_config(config, timestep_spacing="trailing")
    euler.set_timesteps(28)
    assert engine.models.timesteps(28, "hyper") == euler.timesteps.round().int().tolist()


def test_ddim_is_the_schedule_of_the_model(engine: StyleGallery) -> None:
    assert engine.models.timesteps(10) == engine.models.schedule(10).timesteps.tolist()


def test_every_timestep_is_repeated(engine: StyleGallery) -> None:
    params = StyleParams(
        sampler="optimise", schedule="hyper", steps=2, repeats=3, image_size=64, inversion_steps=2
    )
    content = engine.prepare(figure_on_ground(64, 64, RED, BLUE), params)
    found = engine.match(content, [content], params)
    trace = engine.stylize(content, [content], found, params).trace
    assert [step.timestep for step in trace] == [999] * 3 + [499] * 3
    assert [step.index for step in trace] == list(range(6))
    assert {step.total for step in trace} == {6}


def test_the_fast_preset_is_the_published_one() -> None:
    params = preset_params("fast")
    assert (params.optimise.schedule, params.steps, params.optimise.repeats) == ("lcm", 28, 3)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"sampler": "optimise", "schedule": "lcm", "steps": 51}, "at most 50 steps"),
        ({"schedule": "hyper", "sampler": "guided"}, "sampler `optimise`"),
        ({"repeats": 2, "method": "styleid"}, "sampler `optimise`"),
    ],
)
def test_settings_that_do_not_go_together(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        StyleParams.model_validate(settings)
