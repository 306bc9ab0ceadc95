"""Tiles: they cover a latent, and become the same latent again."""

from itertools import pairwise

import pytest
import torch

from stylegallery.sampling.tiles import TILE, TileGrid

SIDES = (8, 40, 64, 95, 96, 100, 128, 150, 256, 300)


@pytest.mark.parametrize("side", SIDES)
def test_tiles_cover_a_side_with_a_little_overlap(side: int) -> None:
    places = [rows for rows, _ in TileGrid(side, 8).places]
    assert places[0].start == 0
    assert places[-1].stop == side
    for one, two in pairwise(places):
        assert 8 <= one.stop - two.start <= TILE // 2
    sides = {place.stop - place.start for place in places}
    assert len(sides) == 1, "tiles of one size share UNet calls"
    assert max(sides) < 1.5 * TILE
    # the UNet's coarsest cells of neighbors lie on each other, but for the last tile
    assert all(place.start % 8 == 0 for place in places[:-1])


@pytest.mark.parametrize("side", SIDES)
def test_what_is_split_is_joined_again(side: int) -> None:
    grid = TileGrid(side, 150)
    latent = torch.randn(1, 4, side, 150, generator=torch.Generator().manual_seed(0))
    tiles = grid.split(latent)
    assert torch.allclose(grid.join(tiles), latent, atol=1e-5)
    assert torch.allclose(grid.agreed(tiles), tiles, atol=1e-5)


def test_tiles_agree_where_they_overlap_and_change_smoothly() -> None:
    grid = TileGrid(16, 128)
    (_, left), (_, right) = grid.places
    tiles = torch.zeros(2, 1, 16, left.stop)
    tiles[1] = 1.0
    one, two = grid.agreed(tiles)
    both = left.stop - right.start
    assert torch.equal(one[..., -both:], two[..., :both])
    row = grid.join(tiles)[0, 0, 0]
    assert row[0] == 0
    assert row[-1] == 1
    assert row.diff().min() >= 0
    assert row.diff().max() < 1 / 6, "no step that could be seen"
