"""Fusion of learnt styles: its fixed points, its rows, and what batches and order leave."""

from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from schemas.engine import EngineSpec, LoraSpec
from schemas.params import StyleParams
from stylegallery import PreparedImage, StyleGallery, StyleJob
from stylegallery.adapters.adapter import Adapter
from stylegallery.guidance.attention_cache import AttentionCache
from stylegallery.matching.correspondence import Pin
from stylegallery.models.inversion import inverted_latents
from stylegallery.sampling.fused import FusedSampler
from stylegallery.sampling.injection import injected
from stylegallery.sampling.style_masks import leading_shares, style_shares
from tests.stylegallery.conftest import figure_on_ground

RED, BLUE, GOLD, TEAL = (0.9, 0.1, 0.1), (0.1, 0.2, 0.9), (0.9, 0.7, 0.1), (0.1, 0.6, 0.6)
PLAIN = {"inject_features": 0.0, "inject_attention": 0.0, "match_tone": False}
KEEP = {"min_similarity": 10, "fallback": "content"}


def settings(**chosen: object) -> StyleParams:
    given = {
        "method": "diffstyler", "image_size": 64, "steps": 5, "inversion_steps": 2,
        "max_regions": 3, "adapter_rank": 2, "adapter_steps": 3, "adapter_rate": 0.05,
    }  # fmt: skip
    return StyleParams.model_validate({**given, **chosen})


Images = tuple[PreparedImage, list[PreparedImage]]


@pytest.fixture(scope="module")
def images(engine: StyleGallery) -> Images:
    """A content of two regions that is not square, and two references."""
    labels = torch.ones(96, 64, dtype=torch.int64)
    labels[40:] = 2
    content = engine.prepare(figure_on_ground(96, 64, RED, BLUE), settings(), labels)
    pictures = (figure_on_ground(96, 104, GOLD, BLUE, 3), figure_on_ground(110, 96, TEAL, RED, 4))
    return content, [engine.prepare(picture, settings()) for picture in pictures]


@pytest.fixture(scope="module")
def adapters(engine: StyleGallery, images: Images) -> tuple[Adapter, ...]:
    return tuple(engine.learn([style.picture], settings()) for style in images[1])


@pytest.fixture
def job(engine: StyleGallery, images: Images, adapters: tuple[Adapter, ...]) -> StyleJob:
    """Its upper region takes the second style, the lower the first."""
    return routed(engine, StyleJob(*images, None, adapters=adapters), Pin(0, 1, 0), Pin(1, 0, 0))  # type: ignore[arg-type]


def routed(engine: StyleGallery, job: StyleJob, *pins: Pin, **chosen: object) -> StyleJob:
    routing = engine.match(job.content, job.styles, settings(**chosen), pins=list(pins))
    return replace(job, routing=routing)


def made(engine: StyleGallery, *jobs: StyleJob, **chosen: object) -> Tensor:
    sampler = FusedSampler(engine.models, settings(**chosen), AttentionCache())
    return torch.cat([one.latent for one in sampler.sample(list(jobs))])


def reconstruction(engine: StyleGallery, latent: Tensor, steps: int, taken: int) -> Tensor:
    models = engine.models
    noisy = inverted_latents(models, latent, steps, taken)[-1]
    schedule = models.schedule(steps)
    for timestep in schedule.timesteps.tolist()[-taken:]:
        step = schedule.step(models.denoise(noisy, timestep).float(), timestep, noisy)
        noisy = step.prev_sample
    clean: Tensor = step.pred_original_sample
    return clean


def test_scale_zero_is_the_models_reconstruction(exact: StyleGallery, job: StyleJob) -> None:
    plain = reconstruction(exact, job.content.latent, 5, 4)
    assert torch.allclose(made(exact, job, adapter_scale=0.0, **PLAIN), plain, atol=1e-5)
    assert not torch.allclose(made(exact, job, **PLAIN), plain, atol=1e-3)


def test_scale_zero_and_no_masks_are_equal_to_the_bit(engine: StyleGallery, job: StyleJob) -> None:
    """Whatever the adapters hold, with injection too."""
    one = routed(engine, job, Pin(0, 0, 0), Pin(1, 0, 0))
    kept = routed(engine, job, **KEEP)
    for chosen in (PLAIN, {"match_tone": False}):
        none = made(engine, kept, **chosen)
        assert torch.equal(none, made(engine, one, adapter_scale=0.0, **chosen))
        wild = [Adapter({n: (9 * d, u) for n, (d, u) in a.factors.items()}) for a in kept.adapters]
        assert torch.equal(none, made(engine, replace(kept, adapters=tuple(wild)), **chosen))


def test_one_mask_without_injection_is_what_sixteen_passes_of_sms_give(
    exact: StyleGallery, job: StyleJob
) -> None:
    one = routed(exact, job, Pin(0, 1, 0), Pin(1, 1, 0))
    other = settings(method="sms", passes=16, strength=0.8, match_tone=False)
    whole = replace(one, styles=one.styles[1:], adapters=one.adapters[1:])
    whole = replace(whole, routing=exact.match(whole.content, whole.styles, other))
    (passes,) = exact.sample_batch([whole], other)
    # There the sum with the weights is rounded to float32, which eight steps amplify.
    assert torch.allclose(made(exact, one, steps=10, **PLAIN), passes.latent, atol=1e-3)


def test_with_one_adapter_for_all_masks_do_not_matter(exact: StyleGallery, job: StyleJob) -> None:
    same = replace(job, adapters=(job.adapters[0],) * 2)
    chosen: dict[str, object] = {"match_tone": False}
    first = made(exact, same, **chosen)
    for pins in ((Pin(0, 0, 0), Pin(1, 0, 0)), (Pin(0, 0, 0), Pin(1, 1, 0))):
        assert torch.allclose(made(exact, routed(exact, same, *pins), **chosen), first, atol=1e-5)
    # Sums of shares are 1 but for rounding, which a random model amplifies in every step.
    chosen["strength"] = 0.6
    short = made(exact, same, **chosen)
    for blend in ("even", "in-turn"):
        blended = made(exact, routed(exact, same), blend=blend, **chosen)
        assert torch.allclose(blended, short, atol=1e-5)
    assert not torch.allclose(made(exact, job, **chosen), short, atol=1e-3)


@pytest.mark.parametrize("blend", ["regions", "even", "in-turn"])
def test_permuted_references_give_the_same(exact: StyleGallery, job: StyleJob, blend: str) -> None:
    turned = replace(job, styles=job.styles[::-1], adapters=job.adapters[::-1])
    first, other = (routed(exact, one) for one in (job, turned))
    # Colors would differ by rounding of float32, which a random model amplifies.
    latents = [made(exact, one, blend=blend, match_tone=False) for one in (first, other)]
    assert torch.allclose(*latents, atol=1e-5)


def test_each_region_follows_its_own_adapter(exact: StyleGallery, job: StyleJob) -> None:
    """At the first step, which the regions do not share yet."""
    chosen = {**PLAIN, "strength": 0.2}
    mixed = made(exact, job, **chosen)
    upper = job.content.regions.labels == 0
    for style, cells in ((1, upper), (0, ~upper)):
        alone = made(exact, routed(exact, job, Pin(0, style, 0), Pin(1, style, 0)), **chosen)
        assert torch.allclose(mixed[..., cells], alone[..., cells], atol=1e-6)
        assert not torch.allclose(mixed[..., ~cells], alone[..., ~cells], atol=1e-4)


def test_an_adapters_file_gives_the_same_as_a_lora(
    engine: StyleGallery, job: StyleJob, tiny_model: Path, tmp_path: Path
) -> None:
    one = routed(engine, job, Pin(0, 0, 0), Pin(1, 0, 0))
    fused = made(engine, one, strength=0.2, adapter_scale=0.5, **PLAIN)
    file = tmp_path / "style.safetensors"
    file.write_bytes(job.adapters[0].to_bytes())
    loras = (LoraSpec(weights=str(file), scale=0.5),)
    spec = EngineSpec(model=str(tiny_model), device="cpu", dtype="float32", loras=loras)
    noisy = inverted_latents(engine.models, job.content.latent, 5, 1)[-1]
    schedule = engine.models.schedule(5)
    timestep = schedule.timesteps.tolist()[-1]
    prediction = StyleGallery.load(spec).models.denoise(noisy, timestep)
    step = schedule.step(prediction, timestep, noisy)
    assert torch.allclose(fused, step.pred_original_sample, atol=1e-4)


@pytest.mark.parametrize("blend", ["regions", "even", "in-turn"])
def test_a_batch_gives_what_single_items_give(
    exact: StyleGallery, job: StyleJob, blend: str
) -> None:
    """With other masks, numbers of rows and protected pixels."""
    jobs = [
        job,
        routed(exact, job),
        routed(exact, job, Pin(1, 0, 0), **KEEP),
        routed(exact, replace(job, protect=torch.ones(1, 1, 96, 64)), **KEEP),
    ]
    both = made(exact, *jobs, blend=blend)
    singly = torch.cat([made(exact, one, blend=blend) for one in jobs])
    assert torch.allclose(both, singly, atol=1e-4)


def test_a_call_has_no_rows_that_are_not_used(
    engine: StyleGallery, job: StyleJob, calls: list[int]
) -> None:
    one = routed(engine, job, Pin(0, 0, 0), Pin(1, 0, 0))
    kept = routed(engine, job, Pin(0, 0, 0), **KEEP)
    # Four of five steps invert; then two have the source's row, for the injection.
    for jobs, rows in (
        ([one], [2, 2, 1, 1]),
        ([job], [3, 3, 2, 2]),
        ([kept], [3, 3, 2, 2]),
        ([one, job, kept], [8, 8, 5, 5]),
    ):
        calls.clear()
        made(engine, *jobs, match_tone=False)
        assert calls == [len(jobs)] * 4 + rows
    calls.clear()
    made(engine, one, **PLAIN)
    assert calls == [1] * 8
    calls.clear()
    made(engine, one, inject_features=0.0, inject_attention=1.0)
    assert calls == [1] * 4 + [2] * 4


def test_steps_inject_from_the_noisy_end(
    engine: StyleGallery, job: StyleJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attention as far as there is noise; both for their share of the steps."""
    seen: list[tuple[bool, float]] = []

    def recorded(
        unet: object, sources: Tensor, features: bool, attention: float
    ) -> AbstractContextManager[None]:
        seen.append((features, attention))
        return injected(unet, sources, features, attention)

    monkeypatch.setattr("stylegallery.sampling.fused.injected", recorded)
    made(engine, job, strength=1.0, inject_features=0.4, inject_attention=0.8)
    timesteps = engine.models.timesteps(5)
    assert timesteps == [801, 601, 401, 201, 1]
    assert seen == [(True, 1.0), (True, 1.0), (False, 0.802), (False, 0.402), (False, 0.0)]


def test_blends_differ_in_space_and_time(exact: StyleGallery, job: StyleJob) -> None:
    free = routed(exact, job)
    found = [made(exact, free, blend=blend) for blend in ("regions", "even", "in-turn")]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert not torch.allclose(found[first], found[second], atol=1e-3)


def test_the_smallest_share_leads_first(exact: StyleGallery, job: StyleJob) -> None:
    free = routed(exact, job)
    first = [Pin(region, int(best), 0) for region, best in enumerate(_smallest_shares(free))]
    chosen = {**PLAIN, "strength": 0.2}  # the first of the steps alone
    made_first = made(exact, routed(exact, job, *first), **chosen)
    assert torch.allclose(made(exact, free, blend="in-turn", **chosen), made_first, atol=1e-6)
    two = {**PLAIN, "strength": 0.4}
    last = [Pin(pin.region, 1 - pin.style, 0) for pin in first]
    shares = style_shares(free, "even").amax(dim=1)
    assert (shares > 0.5).all()  # so the larger one has the second step
    led = made(exact, free, blend="in-turn", **two)
    for pins in (first, last):
        assert not torch.allclose(made(exact, routed(exact, job, *pins), **two), led, atol=1e-3)


def _smallest_shares(job: StyleJob) -> Tensor:
    return style_shares(job, "even").argmin(dim=1)


def test_the_lead_changes_from_the_noisy_end_to_the_clean_one(
    engine: StyleGallery, job: StyleJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []

    def recorded(shares: Tensor, progress: float) -> Tensor:
        seen.append(progress)
        return leading_shares(shares, progress)

    monkeypatch.setattr("stylegallery.sampling.fused.leading_shares", recorded)
    made(engine, routed(engine, job), blend="in-turn")
    assert seen == [0.0, 0.25, 0.5, 0.75]


def test_an_adapter_of_the_injected_convolution_alone_has_no_effect(
    engine: StyleGallery, job: StyleJob
) -> None:
    """The features are the plain model's, and stay so while the adapters act beside them."""
    name = "up_blocks.1.resnets.1.conv2"
    narrow = tuple(Adapter({name: adapter.factors[name]}) for adapter in job.adapters)
    alone = replace(job, adapters=narrow)
    off = made(engine, alone, inject_features=1.0, adapter_scale=0.0)
    assert torch.equal(made(engine, alone, inject_features=1.0), off)
    assert not torch.allclose(made(engine, alone, inject_features=0.0), off, atol=1e-3)


def test_jobs_need_equal_adapters(engine: StyleGallery, job: StyleJob) -> None:
    with pytest.raises(ValueError, match="need equal adapters"):
        made(engine, job, replace(job, adapters=job.adapters[::-1]))
