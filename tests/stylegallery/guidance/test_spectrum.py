"""The discrete cosine transform against scipy's, and what counts as a low frequency."""

import pytest
import torch
from scipy.fft import dctn

from stylegallery.guidance.spectrum import Spectrum

CPU = torch.device("cpu")
SIZES = [(24, 40), (40, 24), (9, 9)]


def change(size: tuple[int, int]) -> torch.Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("size", SIZES)
def test_coefficients_are_those_of_scipy(size: tuple[int, int]) -> None:
    latent = change(size)
    found = Spectrum(size, CPU).coefficients(latent)
    wanted = dctn(latent.numpy(), axes=(2, 3), norm="ortho")
    assert torch.allclose(found, torch.from_numpy(wanted), atol=2e-6)
    # Parseval: the transform keeps energy
    assert torch.allclose(found.square().sum(), latent.square().sum(), rtol=1e-5)
    turned = Spectrum(size[::-1], CPU).coefficients(latent.mT)
    assert torch.allclose(turned, found.mT, atol=2e-6)


def test_a_constant_is_one_coefficient() -> None:
    found = Spectrum((6, 8), CPU).coefficients(torch.full((1, 1, 6, 8), 0.5))[0, 0]
    assert found[0, 0] == pytest.approx(0.5 * 48**0.5)
    found[0, 0] = 0
    assert found.abs().max() < 1e-6


@pytest.mark.parametrize("size", SIZES)
def test_a_share_of_one_counts_all_and_less_counts_low_frequencies(size: tuple[int, int]) -> None:
    spectrum, latent = Spectrum(size, CPU), change(size)
    every = spectrum.coefficients(latent).abs().mean(dim=(1, 2, 3))
    assert torch.allclose(spectrum.low_frequencies(latent, 1.0), every)
    mean = spectrum.low_frequencies(latent, 0.0)  # the constant part alone
    wanted = latent.mean(dim=(2, 3)).abs().mean(dim=1) / (size[0] * size[1]) ** 0.5
    assert torch.allclose(mean, wanted, atol=1e-6)
    between = spectrum.low_frequencies(latent, 0.5)
    assert (mean < between).all()
    assert (between < every).all()


def test_no_change_costs_nothing() -> None:
    assert not Spectrum((8, 8), CPU).low_frequencies(torch.zeros(2, 4, 8, 8), 0.7).any()
