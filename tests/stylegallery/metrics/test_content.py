"""Content metrics are perfect for equal pictures, and worse the more a picture is spoilt."""

import math
from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor

from stylegallery.images.codec import resize
from stylegallery.metrics.content import (
    edge_agreement,
    luminance_ms_ssim,
    luminance_ssim,
    protected_difference,
    protected_ssim,
    psnr,
    structure_distance,
)
from stylegallery.models.semantic import Lite0Encoder
from tests.stylegallery.metrics.spoiling import AMOUNTS, WAYS, other, photo


@cache
def encoder() -> Lite0Encoder:
    return Lite0Encoder(torch.device("cpu"))


def structure(image: Tensor, content: Tensor) -> float:
    """Higher is better, as for the others."""
    return -structure_distance(encoder()(image), encoder()(content))


FIGURES: dict[str, tuple[Callable[[Tensor, Tensor], float], float]] = {
    "ssim": (luminance_ssim, 1.0),
    "ms_ssim": (luminance_ms_ssim, 1.0),
    "edges": (edge_agreement, 1.0),
    "structure": (structure, 0.0),
}


@pytest.mark.parametrize("name", FIGURES)
def test_the_same_picture_is_perfect(name: str) -> None:
    figure, best = FIGURES[name]
    assert figure(photo(), photo()) == pytest.approx(best, abs=1e-5)
    assert figure(other(), photo()) < best - 0.005


@pytest.mark.parametrize("way", ["blur", "noise", "bend"])
@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_falls_with_what_is_done_to_a_picture(name: str, way: str) -> None:
    figure, best = FIGURES[name]
    spoilt = [figure(WAYS[way](photo(), amount), photo()) for amount in AMOUNTS]
    assert [best, *spoilt] == sorted([best, *spoilt], reverse=True)
    assert best - spoilt[-1] > 1.5 * (best - spoilt[0])


def test_ssim_is_of_luminance() -> None:
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    gray = (photo() * weights).sum(1, keepdim=True).expand(-1, 3, -1, -1)
    assert luminance_ssim(gray, photo()) == pytest.approx(1, abs=1e-4)
    assert luminance_ms_ssim(gray, photo()) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("side", [11, 21, 22, 43, 44, 98, 99, 175, 176])
def test_small_pictures_have_fewer_scales(side: int) -> None:
    small = resize(photo(), (side, side + 20))
    assert luminance_ms_ssim(small, small) == pytest.approx(1, abs=1e-5)
    assert luminance_ms_ssim(WAYS["noise"](small, 0.5), small) < 0.99


def test_a_tiny_picture_has_no_room_for_a_window() -> None:
    tiny = resize(photo(), (10, 30))
    assert math.isnan(luminance_ms_ssim(tiny, tiny))


def test_edges_agree_under_new_colors_and_not_under_a_shift() -> None:
    assert edge_agreement(1 - photo(), photo()) > 0.99
    assert edge_agreement(torch.roll(photo(), 4, 3), photo()) < 0.7


def test_structure_hardly_minds_colors() -> None:
    recolored = structure(WAYS["hue"](photo(), 0.4), photo())
    assert abs(recolored) < 0.5 * abs(structure(WAYS["bend"](photo(), 1.0), photo()))


def test_protected_pixels_are_watched_and_no_others() -> None:
    protection = torch.zeros(1, 1, 192, 240)
    protection[..., 20:120, 30:130] = 1
    protection[..., 120:130, 30:130] = 0.5  # a soft edge is not protected
    changed = torch.where(protection == 1, photo(), WAYS["noise"](photo(), 1.0))
    assert protected_difference(changed, photo(), protection) == 0
    assert protected_ssim(changed, photo(), protection) == pytest.approx(1, abs=1e-6)
    changed[0, 1, 60, 60] += 3 / 255 if changed[0, 1, 60, 60] < 0.5 else -3 / 255
    assert protected_difference(changed, photo(), protection) == 3
    spoilt = WAYS["noise"](photo(), 0.5)
    value = protected_ssim(spoilt, photo(), protection)
    assert value is not None
    assert value < 0.9


def test_without_protection_there_is_no_figure() -> None:
    soft = torch.full((1, 1, 192, 240), 0.5)
    assert protected_difference(photo(), photo(), soft) is None
    assert protected_ssim(photo(), photo(), soft) is None
    speck = torch.zeros(1, 1, 192, 240)
    speck[..., 50:53, 50:53] = 1
    assert protected_difference(photo(), photo(), speck) == 0
    assert protected_ssim(photo(), photo(), speck) is None  # no whole window fits


def test_psnr() -> None:
    assert psnr(torch.full((1, 3, 8, 8), 0.6), torch.full((1, 3, 8, 8), 0.5)) == pytest.approx(20)
