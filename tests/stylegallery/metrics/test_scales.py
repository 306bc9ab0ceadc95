"""Sizes at which results and references are compared."""

import pytest
import torch

from stylegallery.metrics.scales import MOST_SIDE, own_side, reference_at, scale_sides


def blank(height: int, width: int) -> torch.Tensor:
    return torch.empty((1, 3, height, width))


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (512, 700, {"own": 512, "half": 256, "quarter": 128}),
        (533, 400, {"own": 400, "half": 200}),  # a quarter would have 100 px
        (127, 900, {}),
        (2500, 3000, {"own": MOST_SIDE, "half": 1024, "quarter": 512}),
    ],
)
def test_scales_are_halves_of_the_own_size(
    height: int, width: int, expected: dict[str, int]
) -> None:
    assert scale_sides(blank(height, width)) == expected
    assert scale_sides(blank(width, height)) == expected
    assert all(side == own_side(blank(height, width)) for side in [*expected.values()][:1])


def test_references_fill_the_frame_unless_they_would_be_soft() -> None:
    reference = torch.rand((1, 3, 200, 300), generator=torch.Generator().manual_seed(0))
    for side in (100, 200, 250):
        found = reference_at(reference, side)
        assert found is not None
        assert found.shape == (1, 3, side, side * 3 // 2)
    assert reference_at(reference, 200) is reference
    assert reference_at(reference, 251) is None
