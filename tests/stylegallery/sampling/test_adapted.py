"""A learnt style in one to sixteen passes: calls, seeds, and what scale 0 leaves."""

import pytest
import torch
from torch import Tensor

from schemas.params import StyleParams
from stylegallery import Picture, PreparedImage, StyleGallery, StyleJob
from stylegallery.adapters.adapter import Adapter
from stylegallery.guidance.attention_cache import AttentionCache
from stylegallery.methods.registry import method_class
from stylegallery.models.inversion import inverted_latents
from stylegallery.sampling.adapted import NoisedSampler, shared_adapter
from tests.stylegallery.conftest import figure_on_ground

RED, BLUE, GOLD = (0.9, 0.1, 0.1), (0.1, 0.2, 0.9), (0.9, 0.7, 0.1)


def settings(**chosen: object) -> StyleParams:
    learning = {"adapter_rank": 2, "adapter_steps": 3, "adapter_rate": 0.05}
    return StyleParams.model_validate({"method": "sms", "image_size": 64, **learning, **chosen})


@pytest.fixture(scope="module")
def images(engine: StyleGallery) -> tuple[PreparedImage, PreparedImage]:
    pictures = (figure_on_ground(96, 64, RED, BLUE), figure_on_ground(96, 104, GOLD, BLUE, 3))
    content, style = (engine.prepare(picture, settings()) for picture in pictures)
    return content, style


@pytest.fixture(scope="module")
def adapter(engine: StyleGallery, images: tuple[PreparedImage, PreparedImage]) -> Adapter:
    return engine.learn([images[1].picture], settings())


@pytest.fixture
def job(
    engine: StyleGallery, images: tuple[PreparedImage, PreparedImage], adapter: Adapter
) -> StyleJob:
    content, style = images
    return StyleJob(
        content, [style], engine.match(content, [style], settings()), 5, None, (adapter,)
    )


def made(engine: StyleGallery, *jobs: StyleJob, **chosen: object) -> Tensor:
    return torch.cat([one.latent for one in engine.sample_batch(list(jobs), settings(**chosen))])


@pytest.mark.parametrize("passes", [1, 2, 4, 16])
def test_an_item_takes_as_many_calls_as_passes(
    engine: StyleGallery, job: StyleJob, calls: list[int], passes: int
) -> None:
    latent = made(engine, job, passes=passes)
    assert calls == [1] * passes
    assert latent.isfinite().all()
    assert latent.shape == (1, 4, 12, 8)


@pytest.mark.parametrize("passes", [1, 2, 4])
def test_the_same_seed_gives_the_same_and_another_seed_another(
    engine: StyleGallery, job: StyleJob, passes: int
) -> None:
    other = StyleJob(job.content, job.styles, job.routing, 6, None, job.adapters)
    first = made(engine, job, passes=passes)
    assert torch.equal(first, made(engine, job, passes=passes))
    assert not torch.allclose(first, made(engine, other, passes=passes), atol=1e-3)


@pytest.mark.parametrize("passes", [0, 1, 2, 16])
def test_a_batch_gives_what_single_items_give(
    engine: StyleGallery, exact: StyleGallery, job: StyleJob, calls: list[int], passes: int
) -> None:
    other = StyleJob(job.content, job.styles, job.routing, 6, None, job.adapters)
    chosen = {"passes": passes, "steps": 3}
    made(engine, job, other, **chosen)
    assert len(set(calls)) <= 2  # shared
    assert min(calls) > 1
    both = made(exact, job, other, **chosen)
    singly = torch.cat([made(exact, one, **chosen) for one in (job, other)])
    assert torch.allclose(both, singly, atol=1e-3)


def test_scale_zero_and_sixteen_passes_are_the_models_reconstruction(
    engine: StyleGallery, job: StyleJob
) -> None:
    models = engine.models
    noisy = inverted_latents(models, job.content.latent, 10, 8)[-1]
    schedule = models.schedule(10)
    for timestep in schedule.timesteps.tolist()[-8:]:
        step = schedule.step(models.denoise(noisy, timestep), timestep, noisy)
        noisy = step.prev_sample
    plain = made(engine, job, passes=16, adapter_scale=0.0, match_tone=False)
    assert torch.allclose(plain, step.pred_original_sample, atol=1e-4)
    assert not torch.allclose(made(engine, job, passes=16, match_tone=False), plain, atol=1e-3)


def test_little_noise_and_scale_zero_return_the_photo(
    engine: StyleGallery, job: StyleJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The less noise, the less the model changes."""
    chosen = {"passes": 1, "adapter_scale": 0.0, "match_tone": False}
    changes = []
    for first in (300, 100, 0):
        monkeypatch.setattr("stylegallery.sampling.adapted._ONE_PASS", max(first, 1))
        latent = made(engine, job, **chosen)
        changes.append(float((latent - job.content.latent).abs().mean()))
    assert changes[0] > changes[1] > changes[2]
    assert changes[2] < 0.1


def test_tones_are_matched_before(engine: StyleGallery, job: StyleJob) -> None:
    toned = made(engine, job, passes=2)
    assert not torch.allclose(toned, made(engine, job, passes=2, match_tone=False), atol=1e-3)


def test_jobs_of_one_batch_need_one_adapter(engine: StyleGallery, job: StyleJob) -> None:
    other = StyleJob(job.content, job.styles, job.routing)
    with pytest.raises(ValueError, match="need equal adapters"):
        NoisedSampler(engine.models, settings(passes=2), AttentionCache()).sample([other])
    with pytest.raises(ValueError, match="need equal adapters"):
        shared_adapter([job, other])


def test_items_with_other_adapters_share_no_call(
    engine: StyleGallery, job: StyleJob, adapter: Adapter, calls: list[int]
) -> None:
    halved = Adapter({name: (down, up / 2) for name, (down, up) in adapter.factors.items()})
    other = StyleJob(job.content, job.styles, job.routing, 5, None, (halved,))
    first, second = made(engine, job, other, passes=2).split(1)
    assert calls == [1] * 4
    assert torch.equal(first, made(engine, job, passes=2))
    assert not torch.allclose(first, second, atol=1e-4)


def test_a_job_without_an_adapter_learns_it_once(
    engine: StyleGallery, job: StyleJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = StyleGallery(engine.models, engine.encoder)
    learnt: list[int] = []
    inner = fresh.learn

    def learn(styles: list[Picture], *rest: object) -> Adapter:
        learnt.append(len(styles))
        return inner(styles, *rest)

    monkeypatch.setattr(fresh, "learn", learn)
    bare = StyleJob(job.content, job.styles, job.routing, job.seed)
    again = fresh.prepare(job.styles[0].picture, settings())
    equal = StyleJob(job.content, [again], job.routing, job.seed)
    for one in (bare, equal):
        latent = made(fresh, one, passes=2)
        assert torch.equal(latent, made(engine, job, passes=2))
    assert learnt == [1]


def test_whole_images_are_prepared_without_the_unet(
    engine: StyleGallery, calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "encoder", None)
    for method in ("sms", "styleid", "attention-distillation"):
        assert method_class(method)  # type: ignore[arg-type]
        params = StyleParams.model_validate({"method": method, "image_size": 64})
        prepared = engine.prepare(figure_on_ground(80, 64, RED, BLUE), params)
        assert prepared.regions.count == 1
    assert not calls
