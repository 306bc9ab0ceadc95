"""Shares of high frequencies against known spectra; blur is seen, brightness is not."""

import math
from collections.abc import Callable

import pytest
import torch

from stylegallery.metrics.frequency import (
    SPECTRUM_CUT,
    TEXTURE_CUT,
    high_share,
    sharpness,
    texture_share,
)
from stylegallery.training.patterns import draw
from tests.stylegallery.metrics.spoiling import AMOUNTS, blur, photo

SHARES: dict[str, Callable[[torch.Tensor], float]] = {
    "spectrum": high_share,
    "texture": texture_share,
}
shares = pytest.mark.parametrize("share", SHARES.values(), ids=SHARES)


def gray(light: torch.Tensor) -> torch.Tensor:
    return light.expand(1, 3, *light.shape[-2:]).clone()


def grain(height: int = 256, width: int = 320) -> torch.Tensor:
    dice = torch.Generator().manual_seed(0)
    return gray(0.5 + 0.1 * torch.randn((height, width), generator=dice))


def slope() -> torch.Tensor:
    return gray(torch.linspace(0.2, 0.8, 320).expand(256, 320))


def texture() -> torch.Tensor:
    return torch.from_numpy(draw((3, 1), 256)).permute(2, 0, 1)[None].float() / 255


def test_white_noise_against_a_gradient_is_known_by_area() -> None:
    """The circle of frequencies that does not count is the only difference of noise to 1."""
    expected = 1 - math.pi * SPECTRUM_CUT**2
    assert high_share(grain()) == pytest.approx(expected, abs=0.002)
    assert high_share(slope()) == pytest.approx(0, abs=0.001)


def test_texture_of_white_noise_is_known_by_the_filter() -> None:
    """Noise minus its Gaussian mean keeps 1 - 2 g(0) + (g * g)(0) of its energy."""
    sigma = math.sqrt(math.log(2) / 2) / math.pi / TEXTURE_CUT
    reach = torch.arange(-8, 9).double()
    kernel = torch.exp(-reach.square() / (2 * sigma**2))
    kernel = torch.outer(kernel / kernel.sum(), kernel / kernel.sum())
    kept = 1 - 2 * float(kernel[8, 8]) + float(kernel.square().sum())
    assert texture_share(grain()) == pytest.approx(kept, abs=0.01)
    assert texture_share(slope()) == pytest.approx(0, abs=0.01)


@shares
def test_brightness_contrast_and_mirrors_leave_a_share(
    share: Callable[[torch.Tensor], float],
) -> None:
    plain = share(photo())
    assert share(0.1 + 0.5 * photo()) == pytest.approx(plain, rel=0.01)
    assert share(photo().flip(3)) == pytest.approx(plain, rel=1e-4)
    assert share(photo().flip(2)) == pytest.approx(plain, rel=1e-4)


@shares
def test_blur_lowers_a_share_step_by_step(share: Callable[[torch.Tensor], float]) -> None:
    found = [share(texture())] + [share(blur(texture(), amount)) for amount in AMOUNTS]
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.5 * found[0]


@shares
def test_a_flat_picture_has_none(share: Callable[[torch.Tensor], float]) -> None:
    assert share(torch.full((1, 3, 64, 48), 0.7)) == pytest.approx(0, abs=1e-6)


def test_a_region_is_measured_alone() -> None:
    """Neither the texture beside a region nor the edge to it counts."""
    halves = torch.cat([slope()[..., :160], grain()[..., 160:] * 0.5], dim=3)
    left = torch.zeros((16, 20), dtype=torch.bool)
    left[:, :10] = True
    assert texture_share(halves, left) == pytest.approx(
        texture_share(slope()[..., :160]), abs=0.002
    )
    assert texture_share(halves, ~left) == pytest.approx(
        texture_share(grain()[..., 160:] * 0.5), abs=0.002
    )
    assert texture_share(halves, torch.zeros_like(left)) == 0


def test_sharpness_is_relative_to_the_original() -> None:
    assert sharpness(photo(), photo()) == 1
    found = [sharpness(blur(photo(), amount), photo()) for amount in AMOUNTS]
    assert found == sorted(found, reverse=True)
    assert found[0] < 0.9
    assert sharpness(photo(), blur(photo(), 0.4)) > 1
