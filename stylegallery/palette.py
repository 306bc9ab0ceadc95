"""Colors of regions, and enlarged label maps for display; imports no torch."""

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
"""Color of regions without a match of their own."""

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
"""Okabe and Ito's color-blind safe palette, then three colors of Paul Tol's."""
_GOLDEN = 0.61803398875


def region_color(index: int) -> Color:
    """Return the color of a region from 0 to 255; all are distinct, and none is black or gray.

    The first ten are color-blind safe; the others are lighter and darker shades of them.
    """
    turn, hue = divmod(index, len(_HUES))
    shade = ((0.5 + turn * _GOLDEN) % 1 - 0.5) * 1.1  # 0 for the first ten; negative is darker
    towards = 255 if shade > 0 else 20
    red, green, blue = (round(c + (towards - c) * abs(shade)) for c in _HUES[hue])
    return red, green, blue


def gallery_colors(regions: Sequence[RegionKey]) -> dict[RegionKey, Color]:
    """Return the color of each reference region; give the most important regions first."""
    return {region: region_color(index) for index, region in enumerate(regions)}


def content_colors(
    matches: Iterable[MatchRow], colors: dict[RegionKey, Color]
) -> tuple[dict[int, Color], frozenset[int]]:
    """Return for each content region the color of the style region that it was matched to.

    Returns:
        Colors by content region, and the regions that keep the original.
    """
    painted: dict[int, Color] = {}
    kept = set()
    for match in matches:
        if match.fallback == "content":
            kept.add(match.region)
        own = match.fallback == "none"
        key = (match.style_id, match.style_region)
        painted[match.region] = colors.get(key, NEUTRAL) if own else NEUTRAL
    return painted, frozenset(kept)


def enlarge(labels: Labels, size: tuple[int, int]) -> Labels:
    """Enlarge a coarse label map to (H, W) with smooth borders.

    Each region's mask is resized bicubically; the largest value wins a pixel.
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
    """Return a mask (H, W) of the pixels whose left or upper neighbor is in another region."""
    marked = np.zeros(labels.shape, dtype=np.bool_)
    marked[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    marked[1:] |= labels[1:] != labels[:-1]
    return marked
