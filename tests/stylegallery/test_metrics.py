"""Figures that must move the right way."""

import pytest
import torch
from skimage import data
from torch import nn
from torch.nn import functional

from stylegallery.embedded.patterns import draw
from stylegallery.images import resize
from stylegallery.lite0 import lite0_features, load_lite0
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


def test_gram_distance_is_the_mean_over_four_depths(net: nn.Module) -> None:
    one, other = pattern(3), pattern(8)
    expected = []
    depths = [lite0_features(net, picture, (2, 4, 10, 14)) for picture in (one, other)]
    for first, second in zip(*depths, strict=True):
        grams = [f[0].flatten(1) @ f[0].flatten(1).T / f[0, 0].numel() for f in (first, second)]
        expected.append(float((grams[0] - grams[1]).norm() / grams[1].norm()))
    assert gram_distance(net, one, other) == pytest.approx(sum(expected) / 4, rel=1e-4)


def test_the_network_knows_a_cat_by_the_features_that_are_compared(net: nn.Module) -> None:
    cat = torch.from_numpy(data.chelsea()).permute(2, 0, 1)[None].float() / 255
    cat = resize(cat[..., 50:], (224, 296))[..., 36:260]
    classes = net(cat * 2 - 1).softmax(dim=1)[0]
    assert classes[281:286].sum() > 0.5  # tabby, tiger cat, Persian, Siamese, Egyptian cat
    deepest = lite0_features(net, cat, (15,))[0]
    pooled = functional.relu6(net._bn1(net._conv_head(deepest))).mean(dim=(2, 3))
    assert torch.allclose(net._fc(pooled).softmax(dim=1)[0], classes, atol=1e-4)


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
