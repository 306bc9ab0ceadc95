"""Patterns are finite, of the size asked for, and determined by their seed."""

import numpy as np
import pytest

from stylegallery.training.patterns import PATTERNS, draw


@pytest.mark.parametrize("number", range(len(PATTERNS)))
def test_every_pattern_has_the_size_and_is_finite(number: int) -> None:
    image = PATTERNS[number](np.random.default_rng(number), 64)
    assert image.shape == (64, 64, 3)
    assert np.isfinite(image).all()


def test_patterns_follow_their_seed() -> None:
    assert np.array_equal(draw(5, 48), draw(5, 48))
    assert not np.array_equal(draw(5, 48), draw(6, 48))
    assert draw(5, 48).dtype == np.uint8
