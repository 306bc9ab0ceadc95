"""The contrast: what it is for known vectors, and what leaves it."""

import math

import pytest
import torch
from torch import Tensor

from stylegallery.contrastive.loss import contrast_loss

UP, RIGHT = torch.tensor([0.0, 2.0, 0.0]), torch.tensor([3.0, 0.0, 0.0])


def drawn(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(4, 3, 5, generator=generator) for _ in range(count)]


@pytest.mark.parametrize(
    ("vectors", "value"),
    [
        ((UP, UP, UP, UP), 0.0),
        ((UP, UP, RIGHT, RIGHT), -1.0),
        ((UP, UP, -UP, -UP), -2.0),
        ((UP, -UP, -UP, UP), 2.0),
        ((UP, RIGHT, UP, UP), math.log((math.e + 1) / 2)),
    ],
)
def test_known_vectors(vectors: tuple[Tensor, ...], value: float) -> None:
    assert float(contrast_loss(*vectors)) == pytest.approx(value, abs=1e-6)


def test_the_pictures_may_be_exchanged_but_not_style_and_design() -> None:
    one, two, three, four = drawn(4)
    value = contrast_loss(one, two, three, four)
    assert torch.allclose(contrast_loss(two, one, four, three), value)
    assert not torch.allclose(contrast_loss(three, four, one, two), value)
    assert not torch.allclose(contrast_loss(one, two, four, three), value)


@pytest.mark.parametrize("place", range(4))
def test_the_length_of_no_vector_matters(place: int) -> None:
    vectors = drawn(4)
    value = contrast_loss(*vectors)
    vectors[place] = 7 * vectors[place]
    assert torch.allclose(contrast_loss(*vectors), value, atol=1e-6)
