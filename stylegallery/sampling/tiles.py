"""Overlapping tiles of a latent: how it is cut, and how the tiles become one latent again."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

TILE = 64
"""Usual side of a tile in latent cells, 512 px for 8 px a cell. Sides differ by up to a half, so
that few tiles overlap by little more than a quarter. With an eighth, borders showed."""
_STEP = 8  # UNets halve a latent up to three times


@dataclass(frozen=True)
class TileGrid:
    """The tiles of a latent of (height, width) cells.

    Neighbors overlap by about a quarter of a tile. A latent that is little larger than a tile is
    one tile.

    Attributes:
        height: Cells of the latent.
        width: Cells of the latent.
    """

    height: int
    width: int

    @cached_property
    def places(self) -> list[tuple[slice, slice]]:
        """Rows and columns of each tile, in reading order; all tiles have one size."""
        return [(rows, columns) for rows in _cuts(self.height) for columns in _cuts(self.width)]

    def split(self, latent: Tensor) -> Tensor:
        """Cut a latent (1, C, h, w) into tiles (T, C, h', w')."""
        return torch.cat([latent[..., rows, columns] for rows, columns in self.places])

    def join(self, tiles: Tensor) -> Tensor:
        """Return the latent (1, C, h, w) of tiles (T, C, h', w').

        Where tiles overlap, each counts the more, the farther a cell is from the tile's border.
        Averages of predictions of overlapping windows are those of MultiDiffusion (Bar-Tal et
        al., arXiv 2302.08113, eq. 5), with smooth weights.
        """
        weights = self._weights.to(tiles)
        joined = tiles.new_zeros(1, tiles.shape[1], self.height, self.width)
        for tile, weight, (rows, columns) in zip(tiles, weights, self.places, strict=True):
            joined[..., rows, columns] += tile * weight
        return joined

    def agreed(self, tiles: Tensor) -> Tensor:
        """Return tiles (T, C, h', w') that are equal where they overlap; see :meth:`join`."""
        return tiles if len(tiles) == 1 else self.split(self.join(tiles))

    @cached_property
    def _weights(self) -> Tensor:
        """(T, h', w') weights of the tiles' cells; those of one cell of the latent sum to 1."""
        rows, columns = (_window(length) for length in (self.height, self.width))
        window = rows[:, None] * columns
        total = torch.zeros(self.height, self.width)
        for place in self.places:
            total[place] += window
        return torch.stack([window / total[place] for place in self.places])


def _cuts(length: int) -> list[slice]:
    """Return the parts that tiles cover of one side, at multiples of the UNet's coarsest cell."""
    count = max(1, round((length - (TILE // 4)) / (TILE - (TILE // 4))))
    side = _side(length)
    starts = [round((length - side) * k / (count - 1) / _STEP) * _STEP for k in range(count - 1)]
    return [slice(start, start + side) for start in [*starts, length - side]]


def _side(length: int) -> int:
    """Return the side of the tiles along one side of a latent."""
    count = max(1, round((length - (TILE // 4)) / (TILE - (TILE // 4))))
    side = -(-(length + (count - 1) * (TILE // 4)) // count)
    return min(length, -(-side // _STEP) * _STEP) if count > 1 else length


def _window(length: int) -> Tensor:
    """Return the weight (h',) of a tile's rows: 1 inside, falling to the borders."""
    side = _side(length)
    distance = torch.arange(side) + 0.5
    ramp = (torch.minimum(distance, side - distance) / (TILE // 4)).clamp(max=1)
    return ramp.square() * (3 - 2 * ramp)  # smoothstep: a tile begins and ends unseen
