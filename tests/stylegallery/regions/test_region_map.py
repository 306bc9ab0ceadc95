"""Region maps: labels without gaps, areas, and other grids."""

import pytest
import torch

from stylegallery.regions.region_map import RegionMap, majority_labels


def test_numbers_must_have_no_gaps() -> None:
    with pytest.raises(ValueError, match="without gaps"):
        RegionMap(torch.tensor([[0, 2]]))
    assert RegionMap.numbered(torch.tensor([[7, 3], [3, 9]])).labels.tolist() == [[0, 1], [1, 2]]


def test_areas_sum_to_one() -> None:
    regions = RegionMap(torch.tensor([[0, 0, 1], [0, 0, 2]]))
    assert torch.allclose(regions.areas, torch.tensor([4, 1, 1]) / 6)


def test_a_thin_region_survives_every_grid() -> None:
    labels = torch.zeros(64, 64, dtype=torch.int64)
    labels[:, 31] = 1  # one odd column: nearest resizing to 32 would lose it
    regions = RegionMap(labels)
    for size in [(32, 32), (16, 16), (9, 5), (2, 2)]:
        assert regions.resized(size).unique().tolist() == [0, 1], size


def test_majority_of_area_decides() -> None:
    masks = torch.zeros(2, 4, 4)
    masks[0, :, :3], masks[1, :, 3:] = 1, 1
    assert majority_labels(masks, (2, 2)).tolist() == [[0, 0], [0, 1]] or majority_labels(
        masks, (1, 4)
    ).tolist() == [[0, 0, 0, 1]]
