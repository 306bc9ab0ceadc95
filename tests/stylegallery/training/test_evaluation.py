"""Foreground masks and the union of regions that fits them."""

import pytest
import torch

from stylegallery.training.evaluation import foreground, union_iou


def test_foreground_is_found_on_plain_ground_alone() -> None:
    picture = torch.full((3, 64, 64), 0.9)
    picture[:, 16:48, 20:44] = torch.tensor([0.7, 0.1, 0.1])[:, None, None]
    mask = foreground(picture)
    assert mask is not None
    assert mask[16:48, 20:44].all()
    assert mask.sum() == 32 * 24
    assert foreground(torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))) is None


def test_union_of_regions_takes_what_helps() -> None:
    labels = torch.tensor([[0, 0, 1, 1], [2, 2, 3, 3]])
    mask = torch.tensor([[True, True, True, False], [False, False, False, False]])
    assert union_iou(labels, mask) == pytest.approx(3 / 4)  # regions 0 and 1
