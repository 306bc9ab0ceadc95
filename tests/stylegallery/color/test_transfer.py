"""What comes before and after the optimization: regions get their tone, noise settles."""

import torch

from schemas.params import StyleParams
from stylegallery import Picture, StyleGallery
from stylegallery.color.transfer import transfer_color
from stylegallery.sampling.bands import limit_band_energy, merge_bands, split_bands
from stylegallery.sampling.optimise import denoise_once
from tests.stylegallery.conftest import figure_on_ground


def latent(seed: int, *size: int) -> torch.Tensor:
    return torch.randn(1, 4, *size, generator=torch.Generator().manual_seed(seed))


def two_halves(params: StyleParams) -> tuple[torch.Tensor, StyleParams]:
    """A user's labels of a left and a right region, and parameters that go with them."""
    labels = torch.ones(64, 64, dtype=torch.int64)
    labels[:, 32:] = 2
    return labels, params.model_copy(update={"max_regions": 2})


def test_regions_take_the_tone_of_their_matches(engine: StyleGallery, params: StyleParams) -> None:
    whole = params.model_copy(update={"method": "attention-distillation"})
    one = engine.prepare(figure_on_ground(64, 64, (0.6, 0.3, 0.3), (0.3, 0.4, 0.6)), whole)
    other = engine.prepare(figure_on_ground(64, 64, (0.3, 0.6, 0.4), (0.6, 0.6, 0.3)), whole)
    routing = engine.match(one, [other], whole)
    tuned = transfer_color(one.picture.pixels, one, [other], routing)
    wanted = other.picture.pixels
    assert torch.allclose(tuned.mean(dim=(2, 3)), wanted.mean(dim=(2, 3)), atol=0.03)
    covariances = [torch.cov(p[0].flatten(1)) for p in (tuned, wanted)]
    assert torch.allclose(*covariances, atol=0.03)
    routing.log_weights.fill_(-torch.inf)
    assert torch.allclose(transfer_color(tuned, one, [other], routing), tuned, atol=1e-5)


def test_light_and_shade_follow_as_far_as_told(engine: StyleGallery, params: StyleParams) -> None:
    whole = params.model_copy(update={"method": "attention-distillation"})
    one = engine.prepare(figure_on_ground(64, 64, (0.6, 0.5, 0.5), (0.5, 0.5, 0.6)), whole)
    other = engine.prepare(figure_on_ground(64, 64, (0.3, 0.5, 0.3), (0.2, 0.4, 0.3)), whole)
    routing = engine.match(one, [other], whole)
    full, half, none = (
        transfer_color(one.picture.pixels, one, [other], routing, share)
        for share in (1.0, 0.5, 0.0)
    )
    light = torch.tensor([0.299, 0.587, 0.114])
    before = torch.einsum("c,bchw->bhw", light, one.picture.pixels)
    moves = [torch.einsum("c,bchw->bhw", light, made) - before for made in (full, half, none)]
    assert moves[0].mean() < -0.05
    assert torch.allclose(moves[1], 0.5 * moves[0], atol=0.01)
    assert moves[2].abs().max() < 0.01
    hues = [made - made.mean(dim=1, keepdim=True) for made in (full, none)]
    assert (hues[0] - hues[1]).abs().mean() < 0.01


def test_a_light_region_stays_lighter_than_a_dark_one(
    engine: StyleGallery, params: StyleParams
) -> None:
    labels, fixed = two_halves(params)
    halves = torch.full((1, 3, 64, 64), 0.7)
    halves[..., 32:] = 0.3
    one = engine.prepare(Picture(halves), fixed, labels)
    other = engine.prepare(Picture(torch.full((1, 3, 64, 64), 0.5)), fixed, labels)
    routing = engine.match(one, [other], fixed)
    tuned = transfer_color(halves, one, [other], routing)[0, 0, 32]
    assert 0.1 < tuned[4] - tuned[60] < 0.35


def test_colors_are_never_spread(engine: StyleGallery, params: StyleParams) -> None:
    whole = params.model_copy(update={"method": "attention-distillation"})
    flat = engine.prepare(figure_on_ground(64, 64, (0.5, 0.5, 0.5), (0.5, 0.5, 0.55)), whole)
    loud = engine.prepare(figure_on_ground(64, 64, (0.9, 0.2, 0.1), (0.1, 0.3, 0.9)), whole)
    tuned = transfer_color(flat.picture.pixels, flat, [loud], engine.match(flat, [loud], whole))
    spread = [torch.linalg.eigvalsh(torch.cov(p[0].flatten(1)))[-1] for p in
              (tuned, flat.picture.pixels)]  # fmt: skip
    assert spread[0] < 1.1 * spread[1]


def test_hues_stay_within_their_region_and_light_is_shared(
    engine: StyleGallery, params: StyleParams
) -> None:
    labels, fixed = two_halves(params)
    gray = Picture(torch.full((1, 3, 64, 64), 0.5))
    one = engine.prepare(gray, fixed, labels)
    halves = torch.full((1, 3, 64, 64), 0.3)
    halves[:, 0, :, :32], halves[:, 2, :, 32:] = 0.8, 0.8  # red on the left, blue on the right
    other = engine.prepare(Picture(halves), fixed, labels)
    routing = engine.match(one, [other], fixed)
    tables = [[0.0, -torch.inf], [-torch.inf, 0.0]]
    lights = []
    for hues, table in (((0, 2), tables), ((2, 0), tables[::-1])):
        routing.log_weights.copy_(torch.tensor(table))
        tuned = transfer_color(gray.pixels, one, [other], routing)[0]
        for column, hue in zip((4, 60), hues, strict=True):
            color = tuned[:, 32, column]
            assert color.argmax() == hue
            assert (color[hue] - color).sort().values[1] > 0.45
        lights.append(torch.einsum("c,cw->w", torch.tensor([0.299, 0.587, 0.114]), tuned[:, 32]))
    assert torch.allclose(lights[0], lights[1], atol=0.03)
    assert torch.allclose(lights[0][[4, 60]], torch.tensor(0.3 + 0.25 * (0.299 + 0.114)), atol=0.03)


def test_bands_add_up_to_the_latent() -> None:
    for size in [(32, 43), (8, 8), (5, 9), (3, 3)]:
        whole = latent(0, *size)
        assert torch.allclose(merge_bands(split_bands(whole)), whole, atol=1e-5)


def test_moves_are_limited_to_what_natural_latents_have() -> None:
    fine = torch.ones(1, 1, 32, 32)
    fine[..., ::2, :] = -1  # this channel has detail alone
    coarse = latent(1, 4, 4)[:, :1].repeat_interleave(8, 2).repeat_interleave(8, 3)
    natural = torch.cat([fine, coarse], dim=1)
    drift = torch.ones(1, 2, 32, 32)
    drift[..., :16] = -1
    moved = limit_band_energy(natural, natural + drift, [natural]) - natural
    assert moved[0, 0].square().mean() < 0.05
    assert moved[0, 1].square().mean() > 0.4
    assert torch.allclose(limit_band_energy(natural, natural + 1e-3 * drift, [natural])[0, 1],
                          (natural + 1e-3 * drift)[0, 1], atol=1e-5)  # fmt: skip


def test_settling_takes_noise_out(engine: StyleGallery) -> None:
    models = engine.models
    noisy = latent(4, 8, 8)
    calm = denoise_once(models, noisy, 60)
    assert calm.shape == noisy.shape
    assert not torch.equal(calm, noisy)
    schedule = models.scheduler.alphas_cumprod[60]
    with torch.no_grad():
        noise = models.denoise(schedule.sqrt() * noisy, 60).float()
    assert torch.allclose(calm, noisy - ((1 - schedule) / schedule).sqrt() * noise, atol=1e-4)
