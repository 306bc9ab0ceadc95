"""Figures that must move the right way."""

import pytest
import torch
from torch import nn

from stylegallery.embedded.patterns import draw
from stylegallery.lite0 import load_lite0
from stylegallery.metrics import edge_agreement, gram_distance, luminance_ssim, psnr


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return load_lite0("cpu")


def pattern(seed: int, size: int = 128) -> torch.Tensor:
    return torch.from_numpy(draw((seed, 1), size)).permute(2, 0, 1)[None].float() / 255


def test_gram_distance_sees_texture_and_not_place(net: nn.Module) -> None:
    one, other = pattern(3), pattern(8)
    assert gram_distance(net, one, one) == 0
    shifted = torch.roll(one, (32, 64), (2, 3))
    assert gram_distance(net, shifted, one) < 0.4 * gram_distance(net, other, one)


def test_gram_distance_looks_at_the_mask_alone(net: nn.Module) -> None:
    one, other = pattern(3), pattern(8)
    halves = torch.cat([one[..., :64], other[..., 64:]], dim=3)
    left = torch.zeros(16, 16, dtype=torch.bool)
    left[:, :7] = True
    assert gram_distance(net, halves, one, left, left) < 0.7 * gram_distance(net, halves, one)


def test_ssim_is_of_luminance() -> None:
    one = pattern(4)
    assert luminance_ssim(one, one) == pytest.approx(1)
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    grey = (one * weights).sum(1, keepdim=True).expand(-1, 3, -1, -1)
    assert luminance_ssim(grey, one) == pytest.approx(1, abs=1e-4)
    assert luminance_ssim(pattern(5), one) < 0.5


def test_edges_agree_under_new_colours_and_not_under_a_shift() -> None:
    one = pattern(6)
    assert edge_agreement(1 - one, one) > 0.99
    assert edge_agreement(torch.roll(one, 4, 3), one) < 0.7


def test_psnr() -> None:
    assert psnr(torch.full((1, 3, 8, 8), 0.6), torch.full((1, 3, 8, 8), 0.5)) == pytest.approx(20)
