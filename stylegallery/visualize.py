"""Pictures of regions and matches, and contact sheets."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import distance_transform_edt

from schemas.result import MatchRow
from stylegallery.images.codec import to_bytes
from stylegallery.images.picture import Picture
from stylegallery.palette import (
    NEUTRAL,
    Color,
    content_colors,
    edges,
    enlarge,
    gallery_colors,
    region_color,
)
from stylegallery.regions.region_map import RegionMap
from stylegallery.types import PreparedImage

_SIDE = 640  # longer side of an overlay
_ROW = 300  # height of the pictures in a contact sheet
_ACROSS = 4  # pictures side by side in a match panel
_GAP, _LINE = 16, 26
_TEXT, _NUMBER = 17, 30
_INK, _PAPER = (30, 30, 30), (255, 255, 255)
_TINT, _FADE = 0.5, 0.7

Cell = tuple[str, Image.Image]
"""A caption and its picture."""


def region_overlay(image: PreparedImage) -> Image.Image:
    """Draw the regions of an image with their numbers; RGB, 640 pixels on the longer side."""
    colors = {region: region_color(region) for region in range(image.regions.count)}
    return _overlay(image, colors, {region: str(region) for region in colors})


class Mapped(Protocol):
    """A picture with its regions, such as a PreparedImage."""

    @property
    def picture(self) -> Picture:
        """The pixels."""
        ...

    @property
    def regions(self) -> RegionMap:
        """The region map."""
        ...


def match_panel(
    content: Mapped, styles: Sequence[Mapped], rows: Sequence[MatchRow], style_ids: Sequence[str]
) -> Image.Image:
    """Draw content and references, with matched regions in the same color.

    A line for every content region follows, the largest first: the source of its style and the
    similarity. Gray regions of a reference are no region's main match; a gray region of the
    content takes the style of the whole gallery, and one without a tint keeps the original.

    Args:
        content: The image to restyle.
        styles: Its references.
        rows: The matches, from `Correspondence.rows` or a run's tables.
        style_ids: Ids of the references in order, as in the rows.

    Returns:
        RGB.
    """
    letters = {name: _letter(index) for index, name in enumerate(style_ids)}
    rows = sorted(rows, key=lambda row: -row.area)
    lent: dict[tuple[str, int], float] = defaultdict(float)
    for row in rows:
        if row.fallback == "none":
            lent[row.style_id, row.style_region] += row.area
    colors = gallery_colors(sorted(lent, key=lambda key: (-lent[key], key)))
    painted, kept = content_colors(rows, colors)
    numbers = {region: str(region) for region in painted}
    shown = {region: color for region, color in painted.items() if region not in kept}
    cells = [("content", _overlay(content, shown, numbers))]
    for (name, letter), style in zip(letters.items(), styles, strict=True):
        every = range(style.regions.count)
        own = {region: colors.get((name, region), NEUTRAL) for region in every}
        drawn = _overlay(style, own, {region: f"{letter}{region}" for region in every})
        cells.append((f"{letter}  {name}", drawn))
    sheet = contact_sheet([cells[k : k + _ACROSS] for k in range(0, len(cells), _ACROSS)])
    return _with_legend(sheet, [(_sentence(row, letters), painted[row.region]) for row in rows])


def contact_sheet(rows: Sequence[Sequence[Cell]]) -> Image.Image:
    """Arrange pictures in rows of equal height with captions below; RGB on white."""
    font = ImageFont.load_default(_TEXT)
    scaled = [[(text, _at_height(picture, _ROW)) for text, picture in row] for row in rows]
    widths = [sum(p.width + _GAP for _, p in row) + _GAP for row in scaled]
    height = len(scaled) * (_ROW + _LINE + _GAP) + _GAP
    sheet = Image.new("RGB", (max(widths, default=_GAP), height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    top = _GAP
    for row in scaled:
        left = _GAP
        for text, picture in row:
            sheet.paste(picture, (left, top))
            pen.text((left, top + _ROW + 4), _fit(text, font, picture.width), _INK, font)
            left += picture.width + _GAP
        top += _ROW + _LINE + _GAP
    return sheet


def _overlay(image: Mapped, colors: Mapping[int, Color], names: Mapping[int, str]) -> Image.Image:
    """Tint the regions that have a color, outline all of them and write their names."""
    base = photo(image.picture)
    scale = _SIDE / max(base.size)
    size = (max(1, round(base.width * scale)), max(1, round(base.height * scale)))
    pixels = np.asarray(base.resize(size, Image.Resampling.LANCZOS), dtype=np.float32)
    coarse = image.regions.to_array()
    fine = enlarge(coarse, (size[1], size[0]))
    palette = np.zeros((image.regions.count, 3), dtype=np.float32)
    tint = np.zeros((image.regions.count, 1), dtype=np.float32)
    for region, color in colors.items():
        palette[region], tint[region] = color, _TINT
    # Tinted areas are desaturated first, so that the photo's colors do not change the tint.
    gray = pixels.mean(axis=2, keepdims=True)
    faded = pixels + (gray - pixels) * _FADE * (tint[fine] > 0)
    drawn = faded + (palette[fine] - faded) * tint[fine]
    outline = Image.fromarray(edges(fine))
    canvas = Image.fromarray(drawn.round().astype(np.uint8))
    # A white line beside a dark one is visible on any picture.
    canvas.paste(_INK, (1, 1), outline)
    canvas.paste(_PAPER, (0, 0), outline)
    pen = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(_NUMBER)
    for region, name in names.items():
        x, y = _middle(coarse == region)
        place = (x * size[0], y * size[1])
        pen.text(place, name, _PAPER, font, anchor="mm", stroke_width=3, stroke_fill=_INK)
    return canvas


def _middle(mask: np.ndarray) -> tuple[float, float]:
    """Return the point (x, y) in [0, 1] that is farthest from a region's border."""
    depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    # Ties are broken by the distance to the region's center.
    deepest = np.argwhere(depth == depth.max())
    center = np.argwhere(mask).mean(axis=0)
    row, column = deepest[np.square(deepest - center).sum(axis=1).argmin()]
    return (column + 0.5) / mask.shape[1], (row + 0.5) / mask.shape[0]


def _with_legend(sheet: Image.Image, lines: Sequence[tuple[str, Color]]) -> Image.Image:
    font = ImageFont.load_default(_TEXT)
    width = max([sheet.width, *(int(font.getlength(text)) + 4 * _GAP for text, _ in lines)])
    panel = Image.new("RGB", (width, sheet.height + len(lines) * _LINE + _GAP), _PAPER)
    panel.paste(sheet, (0, 0))
    pen = ImageDraw.Draw(panel)
    for index, (text, color) in enumerate(lines):
        top = sheet.height + index * _LINE
        pen.rectangle((_GAP, top + 2, _GAP + 22, top + 18), fill=color, outline=_INK)
        pen.text((_GAP + 34, top), text, _INK, font)
    return panel


def _sentence(row: MatchRow, letters: Mapping[str, str]) -> str:
    match = f"{letters[row.style_id]}{row.style_region} ({row.style_id})"
    took = {
        "none": f"takes its style from {match}",
        "global": f"takes the style of all references; nearest is {match}",
        "content": f"stays as it is; nearest is {match}",
    }[row.fallback]
    pinned = ", pinned" if row.pinned else ""
    return f"{row.region}  ({row.area:.0%})  {took}, similarity {row.similarity:.2f}{pinned}"


def _letter(index: int) -> str:
    return chr(ord("A") + index % 26) * (index // 26 + 1)


def photo(picture: Picture) -> Image.Image:
    """Return a picture as an 8-bit RGB image, over white where it is transparent."""
    return Image.fromarray(to_bytes(picture.pixels).permute(1, 2, 0).numpy())


def _at_height(picture: Image.Image, height: int) -> Image.Image:
    width = max(1, round(picture.width * height / picture.height))
    return picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)


def _fit(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text}..."
