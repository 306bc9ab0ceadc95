"""Distances of style: zero for the same, growing with the difference, blind outside masks."""

from collections.abc import Callable

import pytest
import torch
from skimage import data
from torch import nn
from torch.nn import functional

from stylegallery.images.codec import resize
from stylegallery.metrics.style import (
    StyleFeatures,
    color_distance,
    gram_distance,
    patch_distance,
    style_features,
)
from stylegallery.models.lite0 import lite0_features, load_lite0
from stylegallery.training.patterns import draw
from tests.stylegallery.metrics.spoiling import AMOUNTS, WAYS, other, photo


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return load_lite0("cpu")


ReferenceFeatures = Callable[[torch.Tensor], StyleFeatures]
DISTANCES = {"gram": gram_distance, "patch": patch_distance, "color": color_distance}


@pytest.fixture(scope="module")
def look(net: nn.Module) -> ReferenceFeatures:
    return lambda pixels: style_features(net, pixels)


def pattern(seed: int, size: int = 128) -> torch.Tensor:
    return torch.from_numpy(draw((seed, 1), size)).permute(2, 0, 1)[None].float() / 255


def test_gram_distance_sees_texture_and_not_place(look: ReferenceFeatures) -> None:
    one, another = look(pattern(3)), look(pattern(8))
    assert gram_distance(one, one) == 0
    shifted = look(torch.roll(pattern(3), (32, 64), (2, 3)))
    assert gram_distance(shifted, one) < 0.4 * gram_distance(another, one)


def test_gram_distance_is_the_mean_over_four_depths(net: nn.Module) -> None:
    one, another = pattern(3), pattern(8)
    expected = []
    depths = [lite0_features(net, picture, (2, 4, 10, 14)) for picture in (one, another)]
    for first, second in zip(*depths, strict=True):
        grams = [f[0].flatten(1) @ f[0].flatten(1).T / f[0, 0].numel() for f in (first, second)]
        expected.append(float((grams[0] - grams[1]).norm() / grams[1].norm()))
    looks = [style_features(net, picture) for picture in (one, another)]
    assert gram_distance(*looks) == pytest.approx(sum(expected) / 4, rel=1e-4)


@pytest.mark.parametrize(
    ("height", "width"), [(1024, 64), (1085, 67), (513, 96), (1054, 33), (1099, 64)]
)
def test_strips_of_a_tall_picture_have_the_features_of_the_whole(
    net: nn.Module, height: int, width: int
) -> None:
    """Whatever remains of the height after strips, and after the network's strides."""
    picture = torch.rand((1, 3, height, width), generator=torch.Generator().manual_seed(0))
    whole = lite0_features(net, picture, (2, 4, 10, 14))
    parts = style_features(net, picture).depths
    for part, expected in zip(parts, whole, strict=True):
        assert part.shape == expected.shape
        assert torch.allclose(part, expected, atol=1e-4)


def test_the_network_knows_a_cat_by_the_features_that_are_compared(net: nn.Module) -> None:
    cat = torch.from_numpy(data.chelsea()).permute(2, 0, 1)[None].float() / 255
    cat = resize(cat[..., 50:], (224, 296))[..., 36:260]
    classes = net(cat * 2 - 1).softmax(dim=1)[0]
    assert classes[281:286].sum() > 0.5  # tabby, tiger cat, Persian, Siamese, Egyptian cat
    deepest = lite0_features(net, cat, (15,))[0]
    pooled = functional.relu6(net._bn1(net._conv_head(deepest))).mean(dim=(2, 3))
    assert torch.allclose(net._fc(pooled).softmax(dim=1)[0], classes, atol=1e-4)


@pytest.mark.parametrize("name", DISTANCES)
def test_a_picture_is_at_no_distance_from_itself(look: ReferenceFeatures, name: str) -> None:
    assert DISTANCES[name](look(photo()), look(photo())) == pytest.approx(0, abs=1e-6)
    assert DISTANCES[name](look(other()), look(photo())) > 0.05


@pytest.mark.parametrize(
    ("name", "way"),
    [("gram", "blur"), ("gram", "noise"), ("patch", "blur"), ("patch", "noise"),
     ("patch", "hue"), ("color", "noise"), ("color", "hue")],
)  # fmt: skip
def test_a_distance_grows_with_what_is_done_to_a_picture(
    look: ReferenceFeatures, name: str, way: str
) -> None:
    original = look(photo())
    spoilt = [DISTANCES[name](look(WAYS[way](photo(), amount)), original) for amount in AMOUNTS]
    assert spoilt == sorted(spoilt)
    assert 0.01 < spoilt[0] < 0.8 * spoilt[-1]


def test_colors_stay_where_form_goes(look: ReferenceFeatures) -> None:
    bent = look(WAYS["bend"](photo(), 1.0))
    turned = look(WAYS["hue"](photo(), 0.4))
    assert color_distance(bent, look(photo())) < 0.3 * color_distance(turned, look(photo()))


def test_color_shares_without_overlap_are_as_far_apart_as_can_be(look: ReferenceFeatures) -> None:
    red, blue = torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64)
    red[:, 0], blue[:, 2] = 0.8, 0.8
    assert color_distance(look(red), look(blue)) > 0.9


def test_blocks_find_their_partners_wherever_they_are(look: ReferenceFeatures) -> None:
    turned = look(photo().flip(3))
    spoilt = look(WAYS["noise"](photo(), 0.4))
    original = look(photo())
    assert patch_distance(turned, original) < 0.5 * patch_distance(spoilt, original)


@pytest.mark.parametrize("name", DISTANCES)
def test_a_region_is_judged_by_itself(look: ReferenceFeatures, name: str) -> None:
    """What is done to the right half shows there; the left third is out of the networks' sight."""
    left = torch.zeros(48, 60, dtype=torch.bool)
    left[:, :20] = True
    right = torch.zeros(48, 60, dtype=torch.bool)
    right[:, 40:] = True
    spoilt = photo()
    spoilt[..., 120:] = WAYS["noise"](WAYS["hue"](photo(), 0.5), 0.5)[..., 120:]
    made, original = look(spoilt), look(photo())
    found = [DISTANCES[name](made, original, mask, mask) for mask in (left, right)]
    assert found[0] < 0.2 * found[1]


def test_a_sliver_has_no_blocks(look: ReferenceFeatures) -> None:
    sliver = torch.zeros(48, 60, dtype=torch.bool)
    sliver[:2] = True
    assert patch_distance(look(photo()), look(photo()), sliver) is None
