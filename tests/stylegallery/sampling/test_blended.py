"""Styles of several references, blended by their weights."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from schemas.params import StyleParams
from stylegallery import PreparedImage, StyleGallery, StyleJob
from stylegallery.adapters.adapter import Adapter
from stylegallery.adapters.layers import merged
from stylegallery.matching.correspondence import Pin
from stylegallery.models.inversion import inverted_latents
from stylegallery.sampling.blended import blended
from tests.stylegallery.conftest import figure_on_ground

RED, BLUE, GOLD = (0.9, 0.1, 0.1), (0.1, 0.2, 0.9), (0.9, 0.7, 0.1)
PARAMS = StyleParams(method="contrastive-lora", image_size=64, steps=5, strength=0.6)


def drawn(seed: int, *names: str) -> Adapter:
    generator = torch.Generator().manual_seed(seed)
    factors = {}
    for name in names or ("mid_block.attentions.0.proj_in", "up_blocks.1.resnets.0.conv1"):
        kind = (1, 1, 1) if "proj" in name else (1, 3, 3)
        width_in, width_out = {"proj": (128, 128), "conv": (256, 128)}[
            "proj" if "proj" in name else "conv"
        ]
        down = torch.randn(2, width_in, *kind[1:], generator=generator)
        up = torch.randn(width_out, 2, 1, 1, generator=generator)
        factors[name] = (0.3 * down, 0.3 * up)
    return Adapter(factors)


@pytest.fixture(scope="module")
def images(engine: StyleGallery) -> list[PreparedImage]:
    pictures = [figure_on_ground(96, 64, RED, BLUE), figure_on_ground(96, 104, GOLD, BLUE, 3)]
    pictures.append(figure_on_ground(96, 96, BLUE, GOLD, 4))
    return [engine.prepare(picture, PARAMS) for picture in pictures]


def job(
    engine: StyleGallery,
    images: list[PreparedImage],
    weights: list[float],
    pins: list[Pin] | None = None,
) -> StyleJob:
    content, *styles = images
    routing = engine.match(content, styles, PARAMS, weights, pins)
    return StyleJob(content, styles, routing, adapters=(drawn(1), drawn(2)))


def made(engine: StyleGallery, *jobs: StyleJob, **chosen: object) -> list[Tensor]:
    params = PARAMS.model_copy(update=chosen)
    return [one.latent for one in engine.sample_batch(list(jobs), params)]


def test_a_blend_is_the_weighted_sum_of_the_changes(engine: StyleGallery) -> None:
    unet, latents = engine.models.unet, torch.randn(1, 4, 8, 8)
    one, two = drawn(1), drawn(2, "up_blocks.1.resnets.0.conv1")
    both = blended((one, two), (0.25, 0.75))
    assert both.factors.keys() == one.factors.keys()
    with torch.no_grad(), merged(unet, both, 1.0):
        found = engine.models.denoise(latents, 300)
    with torch.no_grad(), merged(unet, one, 0.25), merged(unet, two, 0.75):
        assert torch.allclose(found, engine.models.denoise(latents, 300), atol=1e-4)
    with torch.no_grad():
        assert not torch.allclose(found, engine.models.denoise(latents, 300), atol=1e-2)


def test_scale_zero_is_the_reconstruction_of_the_plain_model(
    engine: StyleGallery, images: list[PreparedImage]
) -> None:
    models = engine.models
    noisy = inverted_latents(models, images[0].latent, 5, 3)[-1]
    schedule = models.schedule(5)
    for timestep in schedule.timesteps.tolist()[-3:]:
        step = schedule.step(models.denoise(noisy, timestep), timestep, noisy)
        noisy = step.prev_sample
    one = job(engine, images, [1.0, 1.0])
    (plain,) = made(engine, one, adapter_scale=0.0)
    assert torch.allclose(plain, step.pred_original_sample, atol=1e-4)
    assert not torch.allclose(made(engine, one)[0], plain, atol=1e-2)


def test_a_pin_and_a_tiny_weight_leave_one_reference(
    engine: StyleGallery, images: list[PreparedImage]
) -> None:
    first = drawn(1)
    alone = replace(job(engine, images, [1.0, 1.0]), adapters=(first, first))
    (wanted,) = made(engine, alone)
    light = job(engine, images, [100.0, 1e-6])
    pinned = job(engine, images, [1.0, 1.0], [Pin(0, 0, 0)])
    for one in (light, pinned):
        assert torch.allclose(made(engine, one)[0], wanted, atol=1e-3)
    (even,) = made(engine, job(engine, images, [1.0, 1.0]))
    assert not torch.allclose(even, wanted, atol=1e-2)


def test_jobs_with_equal_weights_share_calls_and_others_do_not(
    engine: StyleGallery, images: list[PreparedImage], calls: list[int]
) -> None:
    even, again = (job(engine, images, [1.0, 1.0]) for _ in range(2))
    again = replace(again, adapters=even.adapters)
    other = replace(job(engine, images, [3.0, 1.0]), adapters=even.adapters)
    results = made(engine, even, other, again)
    assert calls == [2] * 6 + [1] * 6  # three steps each way
    for latent, one in zip(results, (even, other, again), strict=True):
        assert torch.allclose(latent, made(engine, one)[0], atol=1e-3)
    assert not torch.allclose(results[0], results[1], atol=1e-3)
