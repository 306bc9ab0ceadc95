"""Losses are kept item by item, and an item whose loss is flat ends for itself."""

from collections.abc import Sequence

import pytest
import torch

from schemas.params import StyleParams
from stylegallery import StyleGallery, StyleJob
from stylegallery.guidance.attention_cache import AttentionCache
from stylegallery.guidance.loss_trace import WINDOW, Trace
from stylegallery.sampling.optimise import descend
from tests.stylegallery.conftest import figure_on_ground

RED, BLUE, GREEN = (0.9, 0.1, 0.1), (0.1, 0.2, 0.9), (0.1, 0.7, 0.2)
SLOW = {
    "sampler": "optimise",
    "image_size": 64,
    "inversion_steps": 2,
    "steps": 3 * WINDOW,
    "learning_rate": 1e-3,  # what rounding does to a step of Adam is no more than this
    "match_tone": False,
    "settle_timestep": 0,
    "max_regions": 3,
}


def told(trace: Trace, losses: list[float], items: Sequence[int] | None = None) -> Sequence[int]:
    energies = torch.tensor(losses)
    trace.loss(500, energies, torch.zeros_like(energies), items)
    return trace.going_on()


def test_an_item_goes_on_while_its_loss_falls() -> None:
    trace = Trace(StyleParams(flat_loss=0.05), None, 40)
    for step in range(2 * WINDOW - 1):
        assert list(told(trace, [100.0 - step, 7.0, 9.0 + step % 2])) == [0, 1, 2]
    assert list(told(trace, [100.0 - 2 * WINDOW, 7.0, 9.0])) == [0]
    for step in range(WINDOW - 1):
        assert list(told(trace, [70.0 - step], [0])) == [0]
    assert list(told(trace, [80.0], [0])) == [0]
    for _ in range(WINDOW):
        left = told(trace, [70.0], [0])
    assert list(left) == []
    assert [len(steps) for steps in trace.steps()] == [4 * WINDOW, 2 * WINDOW, 2 * WINDOW]
    assert [step.loss for step in trace.steps()[1]] == [7.0] * 2 * WINDOW
    assert trace.steps()[0][-1].index == 4 * WINDOW - 1


def test_by_default_no_item_ends_early() -> None:
    trace = Trace(StyleParams(), None, 40)
    for _ in range(4 * WINDOW):
        assert list(told(trace, [1.0])) == [0]


@pytest.fixture(scope="module")
def pair(engine: StyleGallery) -> list[StyleJob]:
    params = StyleParams.model_validate(SLOW)
    made = []
    for colours, seed in (((RED, BLUE), 1), ((GREEN, BLUE), 2)):
        content = engine.prepare(figure_on_ground(64, 72, *colours, seed), params)
        style = engine.prepare(figure_on_ground(64, 64, BLUE, GREEN, seed + 5), params)
        made.append(StyleJob(content, [style], engine.match(content, [style], params), seed))
    return made


def fall(engine: StyleGallery, job: StyleJob) -> float:
    """By what share a second window of steps lowers the loss."""
    params = StyleParams.model_validate(SLOW)
    steps = engine.stylize(job.content, job.styles, job.routing, params, seed=job.seed).trace
    before, lately = (sum(s.loss for s in steps[k : k + WINDOW]) for k in (0, WINDOW))
    return 1 - lately / before


def test_an_item_ends_in_a_batch_where_it_ends_alone(
    engine: StyleGallery, pair: list[StyleJob], calls: list[int]
) -> None:
    falls = [fall(engine, job) for job in pair]
    between = sum(falls) / 2
    params = StyleParams.model_validate({**SLOW, "flat_loss": between})
    calls.clear()
    made = engine.stylize_batch(pair, params)
    assert sorted(len(one.trace) for one in made)[0] == 2 * WINDOW
    assert len({len(one.trace) for one in made}) == 2
    assert 2 * WINDOW <= calls.count(2) < 2 * WINDOW + params.anchors
    for job, together in zip(pair, made, strict=True):
        alone = engine.stylize(job.content, job.styles, job.routing, params, seed=job.seed)
        assert len(alone.trace) == len(together.trace)
        difference = (alone.picture.pixels - together.picture.pixels).abs()
        assert difference.max() < 2e-3
        assert difference.mean() < 1e-4


def test_an_item_that_has_ended_does_not_move(
    engine: StyleGallery, pair: list[StyleJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    params = StyleParams.model_validate({**SLOW, "steps": 6})
    start = torch.cat([job.content.latent for job in pair])
    ends = []
    for left in ([1], []):
        taken: list[int] = []

        def going_on(
            _trace: Trace, taken: list[int] = taken, left: list[int] = left
        ) -> Sequence[int]:
            taken.append(1)
            return [0, 1] if len(taken) < 3 else left

        monkeypatch.setattr(Trace, "going_on", going_on)
        latent, traces = descend(engine.models, start, pair, params, AttentionCache(), None)
        ends.append(latent)
        assert [len(trace) for trace in traces] == [3, 6 if left else 3]
    assert torch.equal(ends[0][0], ends[1][0])
    assert not torch.equal(ends[0][1], ends[1][1])
    assert not torch.equal(ends[0][0], start[0])
