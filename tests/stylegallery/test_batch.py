"""A batch gives what its items give one by one, whatever stands beside them (oracle d)."""

from typing import get_args

import pytest
import torch

from schemas.methods import Method, Sampler
from schemas.params import LATER, StyleParams
from stylegallery import Step, StyleGallery, StyleJob
from stylegallery.errors import BadMask, DidNotConverge
from stylegallery.methods.registry import method_class
from tests.stylegallery.conftest import figure_on_ground

RED, BLUE, GREEN = (0.9, 0.1, 0.1), (0.1, 0.2, 0.9), (0.1, 0.7, 0.2)
WAYS = [(method, way) for method in get_args(Method) for way in method_class(method).samplers]
QUICK = {
    "image_size": 64,
    "steps": 4,
    "inversion_steps": 2,
    "max_regions": 3,
    "merge_threshold": 0,
    **LATER,
}


def jobs(engine: StyleGallery, params: StyleParams) -> list[StyleJob]:
    """Two sizes, one to three references, shared ones among them, and different seeds."""
    pictures = [(64, 80, RED, BLUE, 1), (80, 64, BLUE, RED, 2), (64, 80, GREEN, BLUE, 3)]
    contents = [engine.prepare(figure_on_ground(*p), params) for p in pictures]
    pictures = [(96, 96, GREEN, RED, 4), (96, 108, BLUE, GREEN, 5), (120, 96, RED, GREEN, 6)]
    styles = [engine.prepare(figure_on_ground(*p), params) for p in pictures]
    galleries = [styles[:1], styles, styles[:2]]
    found = [engine.match(c, of, params) for c, of in zip(contents, galleries, strict=True)]
    parts = zip(contents, galleries, found, (7, 8, 9), strict=True)
    return [StyleJob(*part) for part in parts]


@pytest.mark.parametrize(("method", "sampler"), WAYS)
def test_a_batch_equals_its_items(engine: StyleGallery, method: Method, sampler: Sampler) -> None:
    # two steps: where an absolute difference is zero its gradient has the sign of rounding, which
    # grows from step to step and with the rate, which is that of the published methods for all
    settings = {**QUICK, "steps": 2, "learning_rate": 0.05, "method": method, "sampler": sampler}
    params = StyleParams.model_validate({**settings, "adapter_rank": 2, "adapter_steps": 3})
    batch = jobs(engine, params)
    made = engine.stylize_batch(batch, params)
    for job, together in zip(batch, made, strict=True):
        alone = engine.stylize(job.content, job.styles, job.routing, params, seed=job.seed)
        assert together.picture.size == job.content.picture.size
        difference = (together.picture.pixels - alone.picture.pixels).abs()
        assert difference.max() < 7e-4
        assert difference.mean() < 3.5e-5
        assert [s.timestep for s in together.trace] == [s.timestep for s in alone.trace]
        for one, other in zip(together.trace, alone.trace, strict=True):
            assert one.loss == pytest.approx(other.loss, rel=1e-3, abs=1e-5)


def test_items_of_one_size_share_their_calls(engine: StyleGallery, calls: list[int]) -> None:
    params = StyleParams.model_validate({"sampler": "optimise", **QUICK})
    batch = jobs(engine, params)
    calls.clear()
    engine.stylize_batch(batch, params)
    # of two items: at each step the latents and the contents, and once to settle
    assert calls.count(2) == 2 * params.steps + 1


def test_listeners_hear_the_mean_of_a_batch(engine: StyleGallery) -> None:
    params = StyleParams.model_validate(QUICK)
    first, _, third = jobs(engine, params)
    heard: list[Step] = []
    made = engine.stylize_batch([first, third], params, on_step=heard.append)
    for index, step in enumerate(heard):
        assert step.loss == pytest.approx(sum(one.trace[index].loss for one in made) / 2)
    assert len(heard) == round(params.strength * params.steps)


def test_no_jobs_give_no_results(engine: StyleGallery) -> None:
    assert engine.stylize_batch([]) == []


def test_a_batch_is_refused_before_anything_is_computed(engine: StyleGallery) -> None:
    params = StyleParams.model_validate(QUICK)
    first, second, _ = jobs(engine, params)
    wrong = StyleJob(second.content, second.styles, second.routing, 0, torch.ones(1, 1, 9, 9))
    heard: list[Step] = []
    with pytest.raises(BadMask):
        engine.stylize_batch([first, wrong], params, on_step=heard.append)
    assert heard == []


def test_an_item_that_diverges_is_reported(engine: StyleGallery) -> None:
    params = StyleParams.model_validate(QUICK)
    first, _, third = jobs(engine, params)
    third.styles[1].latent.fill_(torch.nan)  # which the first has not
    with pytest.raises(DidNotConverge, match="step 0"):
        engine.stylize_batch([first, third], params)
