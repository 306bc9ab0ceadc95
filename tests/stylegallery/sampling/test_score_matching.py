"""Style matching score: its fixed points, its relevance, and what it asks of the UNet."""

import pytest
import torch
from torch import Tensor

from schemas.params import StyleParams
from stylegallery import StyleGallery, StyleJob
from stylegallery.guidance.attention_cache import AttentionCache
from stylegallery.guidance.spectrum import Spectrum
from stylegallery.sampling.score_matching import ScoreMatchingSampler, relevance_of
from tests.stylegallery.conftest import figure_on_ground

RED, BLUE, GOLD = (0.9, 0.1, 0.1), (0.1, 0.2, 0.9), (0.9, 0.7, 0.1)
STEPS = 8


def settings(**chosen: object) -> StyleParams:
    given = {
        "method": "sms", "image_size": 64, "steps": STEPS, "settle_timestep": 0,
        "adapter_rank": 2, "adapter_steps": 3, "adapter_rate": 0.05,
    }  # fmt: skip
    return StyleParams.model_validate({**given, **chosen})


@pytest.fixture(scope="module")
def job(engine: StyleGallery) -> StyleJob:
    pictures = (figure_on_ground(64, 80, RED, BLUE), figure_on_ground(96, 104, GOLD, BLUE, 3))
    content, style = (engine.prepare(picture, settings()) for picture in pictures)
    adapter = engine.learn([style.picture], settings())
    return StyleJob(
        content, [style], engine.match(content, [style], settings()), 5, None, (adapter,)
    )


def descended(engine: StyleGallery, job: StyleJob, **chosen: object) -> tuple[Tensor, Tensor]:
    """Return the start and the end of the descent."""
    sampler = ScoreMatchingSampler(engine.models, settings(**chosen), AttentionCache())
    start = sampler.start(job)
    return start, sampler.descend(start, [job])[0]


def sampled(engine: StyleGallery, job: StyleJob, **chosen: object) -> Tensor:
    sampler = ScoreMatchingSampler(engine.models, settings(**chosen), AttentionCache())
    return sampler.sample([job])[0].latent


def test_a_style_of_scale_zero_changes_no_bit(engine: StyleGallery, job: StyleJob) -> None:
    start, end = descended(engine, job, adapter_scale=0.0)
    assert torch.equal(start, end)
    start, end = descended(engine, job)
    assert not torch.allclose(start, end, atol=1e-3)


def test_relevance_of_ones_is_no_relevance(
    engine: StyleGallery, job: StyleJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = descended(engine, job, relevance="none")[1]
    assert not torch.equal(descended(engine, job)[1], plain)
    monkeypatch.setattr(
        "stylegallery.sampling.score_matching.relevance_of",
        lambda difference: torch.ones_like(difference[:, :1]),
    )
    assert torch.equal(descended(engine, job)[1], plain)


def test_relevance_is_stretched_to_one_and_flat_is_one_everywhere() -> None:
    difference = torch.zeros(2, 4, 6, 8)
    difference[0, :, 2, 3] = -1.0
    found = relevance_of(difference)
    assert found.shape == (2, 1, 6, 8)
    assert (found[0].min(), found[0].max()) == (0.0, 1.0)
    assert found[0, 0, 2, 3] == 1.0
    assert found[0, 0, 5, 7] == 0.0
    assert (found[1] == 1).all()
    opposed = torch.zeros(1, 4, 6, 8)
    opposed[0, :, 2, 3] = torch.tensor([1.0, -1.0, 1.0, -1.0])
    assert (relevance_of(opposed) == 1).all()  # the mean over channels comes first


def test_a_large_spectrum_weight_keeps_low_frequencies(engine: StyleGallery, job: StyleJob) -> None:
    size = (int(job.content.latent.shape[2]), int(job.content.latent.shape[3]))
    spectrum = Spectrum(size, torch.device("cpu"))
    changes = []
    for weight in (0.0, 1.0):
        start, end = descended(engine, job, spectrum_weight=weight, steps=24)
        changes.append(float(spectrum.low_frequencies(end - start, 0.1)))
    assert changes[1] < 0.5 * changes[0]


def test_the_unet_gets_no_gradient_unless_a_fake_is_learnt(
    engine: StyleGallery, job: StyleJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    inner = engine.models.unet.forward

    def forward(sample: Tensor, *args: object, **options: object) -> object:
        made = inner(sample, *args, **options)
        asked.append(made[0].requires_grad)  # type: ignore[index]
        return made

    monkeypatch.setattr(engine.models.unet, "forward", forward)
    plain = sampled(engine, job)
    assert asked == [False] * (STEPS + min(STEPS, 8))  # anchors of the relevance
    asked.clear()
    faked = sampled(engine, job, fake_rank=2)
    assert sum(asked) == STEPS
    assert not torch.allclose(plain, faked, atol=1e-4)


def test_the_same_seed_gives_the_same_and_another_seed_another(
    engine: StyleGallery, job: StyleJob
) -> None:
    other = StyleJob(job.content, job.styles, job.routing, 6, None, job.adapters)
    for fake in (0, 2):
        first = sampled(engine, job, fake_rank=fake)
        assert torch.equal(first, sampled(engine, job, fake_rank=fake))
    assert not torch.allclose(sampled(engine, job), sampled(engine, other), atol=1e-4)


def test_the_result_is_finished_like_an_optimized_one(
    engine: StyleGallery, job: StyleJob, calls: list[int]
) -> None:
    plain = sampled(engine, job)
    before = len(calls)
    settled = sampled(engine, job, settle_timestep=60)
    assert len(calls) - before == before + 1
    assert not torch.equal(plain, settled)


def test_losses_of_every_step_are_reported(engine: StyleGallery, job: StyleJob) -> None:
    (made,) = ScoreMatchingSampler(engine.models, settings(), AttentionCache()).sample([job])
    assert [step.index for step in made.trace] == list(range(STEPS))
    assert all(20 <= step.timestep < 500 for step in made.trace)
    assert made.trace[0].content_loss == 0.0  # nothing has moved
    assert made.trace[-1].content_loss > 0.0
    assert all(step.style_loss > 0 for step in made.trace)
