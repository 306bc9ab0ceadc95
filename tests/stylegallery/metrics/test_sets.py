"""The Fréchet distance agrees with scipy, and intervals cover as often as they say."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from stylegallery.metrics.sets import (
    art_product,
    block_vectors,
    frechet_distance,
    frechet_interval,
    mean_interval,
)
from stylegallery.models.lite0 import load_lite0
from tests.stylegallery.metrics.spoiling import WAYS, other, photo


def gaussian(seed: int, count: int, width: int, shift: float = 0.0) -> np.ndarray:
    dice = np.random.default_rng(seed)
    return dice.normal(size=(count, width)) @ dice.normal(size=(width, width)) + shift


@pytest.mark.parametrize("counts", [(400, 300), (40, 400), (9, 5)])
def test_frechet_distance_agrees_with_scipy(counts: tuple[int, int]) -> None:
    one, two = (gaussian(n, count, 12, 0.3 * n) for n, count in enumerate(counts))
    first, second = (np.cov(vectors, rowvar=False) for vectors in (one, two))
    gap = ((one.mean(0) - two.mean(0)) ** 2).sum()
    by_scipy = gap + np.trace(first + second - 2 * sqrtm(first @ second).real)
    assert frechet_distance(one, two) == pytest.approx(by_scipy, rel=1e-3)
    assert frechet_distance(one, two) == pytest.approx(frechet_distance(two, one), rel=1e-9)


def test_frechet_distance_of_known_gaussians() -> None:
    """Of independent coordinates: squared gaps of means and of standard deviations."""
    dice = np.random.default_rng(0)
    one = dice.normal(0, 1, (200_000, 2))
    two = dice.normal((3, 0), (1, 2), (200_000, 2))
    assert frechet_distance(one, two) == pytest.approx(9 + 1, rel=0.02)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)


def test_an_interval_covers_the_mean_as_often_as_it_says() -> None:
    dice = np.random.default_rng(1)
    spans = [mean_interval(dice.normal(size=60), seed) for seed in range(200)]
    covered = np.mean([span.low <= 0 <= span.high for span in spans])
    assert 0.9 <= covered <= 0.98


def test_intervals_shrink_with_the_number_of_pictures() -> None:
    values = np.random.default_rng(2).normal(size=8000)
    widths = [s.high - s.low for s in (mean_interval(values[:n]) for n in (20, 200, 1900, 8000))]
    assert widths == sorted(widths, reverse=True)
    # Both ways to find it agree where one takes over from the other.
    assert widths[2] == pytest.approx(widths[3] * (8000 / 1900) ** 0.5, rel=0.15)
    pictures = np.random.default_rng(3).normal(size=(160, 4, 6))
    references = np.random.default_rng(4).normal(1, 1, (5, 4, 6))
    few, many = (frechet_interval(pictures[:n], references) for n in (20, 160))
    assert few.low < few.value < few.high
    assert many.high - many.low < 0.6 * (few.high - few.low)


def test_same_seed_same_interval() -> None:
    values = np.random.default_rng(5).normal(size=50)
    assert mean_interval(values) == mean_interval(values)
    assert mean_interval(values[:1]).low == mean_interval(values[:1]).high == values[0]


def test_blocks_of_a_spoilt_photo_lie_farther_from_it() -> None:
    net = load_lite0("cpu")
    own = block_vectors(net, photo()).double().numpy()
    assert own.shape == (16, 192)
    spoilt = [block_vectors(net, WAYS["noise"](photo(), a)).double().numpy() for a in (0.3, 1.0)]
    another = block_vectors(net, other()).double().numpy()
    distances = [frechet_distance(vectors, own) for vectors in (own, *spoilt)]
    assert distances[0] == pytest.approx(0, abs=1e-6)
    assert distances[0] < distances[1] < distances[2]
    assert frechet_distance(another, own) > distances[1]


def test_art_product() -> None:
    assert art_product(0, 0) == 1
    assert art_product(0.5, 3) == 6
