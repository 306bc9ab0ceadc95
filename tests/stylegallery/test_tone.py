"""Where the optimisation starts and how it steps: bands add up, regions get their tone."""

import torch

from schemas.params import StyleParams
from stylegallery import StyleGallery
from stylegallery.pyramid import PyramidLatent, amplitudes, bands, collapse
from stylegallery.tone import match_tone
from tests.stylegallery.conftest import figure_on_ground


def latent(seed: int, *size: int) -> torch.Tensor:
    return torch.randn(1, 4, *size, generator=torch.Generator().manual_seed(seed))


def test_bands_add_up_to_the_latent() -> None:
    for size in [(32, 43), (8, 8), (5, 9), (3, 3)]:
        whole = latent(0, *size)
        assert torch.allclose(collapse(bands(whole)), whole, atol=1e-5)


def test_a_channel_moves_where_it_lives() -> None:
    coarse = torch.ones(1, 1, 32, 32) * 3
    fine = torch.ones(1, 1, 32, 32)
    fine[..., ::2, ::2] = -3
    steps = amplitudes([torch.cat([coarse, fine - fine.mean()], dim=1)], 4)
    assert steps[-1][0, 0] > 2.9
    assert steps[0][0, 0] < 1e-3
    assert steps[0][0, 1] > 10 * steps[-1][0, 1]


def test_moves_start_at_nothing_and_take_even_steps() -> None:
    start = latent(1, 16, 16)
    pyramid = PyramidLatent(start, [latent(2, 16, 16)])
    assert torch.allclose(pyramid.value(), start)
    (pyramid.value() * latent(3, 16, 16) * 1e-7).sum().backward()
    pyramid.normalise_gradients()
    for move in pyramid.moves:
        assert move.grad is not None
        size = move.grad.square().mean(dim=(2, 3)).sqrt()
        assert torch.allclose(size, torch.ones_like(size), atol=1e-3)


def test_regions_take_the_tone_of_their_matches(engine: StyleGallery, params: StyleParams) -> None:
    whole = params.model_copy(update={"method": "attention-distillation"})
    one = engine.prepare(figure_on_ground(64, 64, (0.9, 0.1, 0.1), (0.1, 0.2, 0.9)), whole)
    other = engine.prepare(figure_on_ground(64, 64, (0.1, 0.8, 0.2), (0.9, 0.9, 0.1)), whole)
    routing = engine.match(one, [other], whole)
    tuned = match_tone(one.latent, one, [other], routing)
    wanted = other.latent.mean(dim=(2, 3))
    assert torch.allclose(tuned.mean(dim=(2, 3)), wanted, atol=1e-3)
    routing.log_weights.fill_(-torch.inf)
    assert torch.equal(match_tone(one.latent, one, [other], routing), one.latent)
