"""The colours of regions, and label maps enlarged for the eye. Imports no torch."""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from schemas.result import MatchRow

Color = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""
Labels = NDArray[np.uint8]
"""(H, W) region numbers."""
RegionKey = tuple[str, int]
"""style_id and number of a region of that reference."""

NEUTRAL: Final[Color] = (150, 150, 150)
"""For regions without a match of their own."""

_HUES: Final[tuple[Color, ...]] = (
    (230, 159, 0),
    (0, 114, 178),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (213, 94, 0),
    (240, 228, 66),
    (51, 34, 136),
    (136, 34, 85),
    (153, 153, 51),
)
"""Okabe and Ito's colours, which the colour-blind tell apart, then three of Paul Tol's."""
_GOLDEN = 0.61803398875


def region_color(index: int) -> Color:
    """Return the colour of region 0 to 255: all differ, and none is black or grey.

    The first ten are safe for the colour-blind; those after them are lighter and darker ones.
    """
    turn, hue = divmod(index, len(_HUES))
    shade = ((0.5 + turn * _GOLDEN) % 1 - 0.5) * 1.1  # 0 on the first turn; below 0 is darker
    towards = 255 if shade > 0 else 20
    red, green, blue = (round(c + (towards - c) * abs(shade)) for c in _HUES[hue])
    return red, green, blue


def gallery_colors(regions: Sequence[RegionKey]) -> dict[RegionKey, Color]:
    """Give every reference region of a gallery its colour; name the most important first."""
    return {region: region_color(index) for index, region in enumerate(regions)}


def content_colors(
    matches: Iterable[MatchRow], colours: dict[RegionKey, Color]
) -> tuple[dict[int, Color], frozenset[int]]:
    """Color each content region like the reference region that it took its style from.

    Returns:
        Colours by content region, and the regions that kept the original.
    """
    painted: dict[int, Color] = {}
    kept = set()
    for match in matches:
        if match.fallback == "content":
            kept.add(match.region)
        own = match.fallback == "none"
        key = (match.style_id, match.style_region)
        painted[match.region] = colours.get(key, NEUTRAL) if own else NEUTRAL
    return painted, frozenset(kept)


def enlarge(labels: Labels, size: tuple[int, int]) -> Labels:
    """Enlarge a coarse label map to (H, W), its borders rounded.

    Each region is blown up on its own; the one of largest weight wins a pixel.
    """
    best = np.full(size, -1, dtype=np.int16)
    winner = np.zeros(size, dtype=np.uint8)
    for region in np.unique(labels).tolist():
        mask = Image.fromarray(((labels == region) * 255).astype(np.uint8))
        weight = np.asarray(mask.resize(size[::-1], Image.Resampling.BICUBIC), dtype=np.int16)
        ahead = weight > best
        winner[ahead], best[ahead] = region, weight[ahead]
    return winner


def edges(labels: Labels) -> NDArray[np.bool_]:
    """Mark the pixels (H, W) whose left or upper neighbour is of another region."""
    marked = np.zeros(labels.shape, dtype=np.bool_)
    marked[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    marked[1:] |= labels[1:] != labels[:-1]
    return marked
