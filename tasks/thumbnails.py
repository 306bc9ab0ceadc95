"""Small pictures for the report: photos, and region maps as transparent overlays."""

import base64
import colorsys
import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Colour = tuple[int, int, int]
Labels = NDArray[np.uint8]

UNMATCHED: Colour = (150, 150, 150)
_GOLDEN_ANGLE = 0.618034
_OVERLAY_SIDE = 176
_FILL_ALPHA, _EDGE_ALPHA = 150, 255
_MOST_PIXELS = 100_000_000


class NotAnImage(Exception):
    """The bytes do not decode to a picture of reasonable size."""


@dataclass(frozen=True)
class Thumbnail:
    """A small picture as a data URI.

    Attributes:
        uri: `data:` URI of the picture.
        width: Pixels.
        height: Pixels.
    """

    uri: str
    width: int
    height: int

    @property
    def data(self) -> bytes:
        """The picture's file."""
        return base64.b64decode(self.uri.partition(",")[2])


def thumbnail(data: bytes, side: int, quality: int) -> Thumbnail:
    """Shrink an image file to `side` pixels on its longer side, as WebP.

    Raises:
        NotAnImage: the bytes cannot be decoded.
    """
    try:
        image = Image.open(io.BytesIO(data))
        if image.width * image.height > _MOST_PIXELS:
            raise NotAnImage(f"{image.width}x{image.height} px is too large to show")
        image.draft("RGB", (side * 2, side * 2))
        small = ImageOps.exif_transpose(_eight_bit(image))
        small.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    except NotAnImage:
        raise
    except Exception as error:  # Pillow's plugins raise whatever their parsers do
        raise NotAnImage(str(error)) from error
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=quality, method=4)
    return Thumbnail(_data_uri("image/webp", buffer), small.width, small.height)


def read_labels(data: bytes) -> Labels:
    """Read a region map: the index values of an indexed PNG, one per region.

    Raises:
        NotAnImage: the bytes cannot be decoded.
    """
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except Exception as error:
        raise NotAnImage(str(error)) from error
    if image.mode not in ("P", "L"):
        raise NotAnImage(f"a region map is an indexed or grey PNG, not {image.mode}")
    return np.asarray(image, dtype=np.uint8)


def overlay(
    labels: Labels, colours: Mapping[int, Colour], clear: frozenset[int] = frozenset()
) -> Thumbnail:
    """Draw a region map as a transparent PNG with darker region edges.

    Args:
        labels: (H, W) region indices.
        colours: Colour of each region; others are grey.
        clear: Regions drawn as an outline only.
    """
    fine = _smooth(labels)
    edge = np.zeros(fine.shape, bool)
    edge[:, 1:] |= fine[:, 1:] != fine[:, :-1]
    edge[1:] |= fine[1:] != fine[:-1]
    used = np.unique(fine)
    # Palette entries 2k and 2k + 1: fill and edge of the k-th region in the map.
    index = np.searchsorted(used, fine).astype(np.uint8) * 2 + edge
    palette, alpha = bytearray(), bytearray()
    for region in used.tolist():
        colour = colours.get(region, UNMATCHED)
        palette += bytes((*colour, *(round(c * 0.7) for c in colour)))
        alpha += bytes((0 if region in clear else _FILL_ALPHA, _EDGE_ALPHA))
    image = Image.fromarray(index, "P")
    image.putpalette(bytes(palette))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True, transparency=bytes(alpha))
    return Thumbnail(_data_uri("image/png", buffer), image.width, image.height)


def distinct_colours(count: int) -> list[Colour]:
    """Return `count` colours that the eye tells apart, in hue steps of the golden angle."""
    return [_colour(k) for k in range(count)]


def _colour(k: int) -> Colour:
    hue = (0.02 + k * _GOLDEN_ANGLE) % 1.0
    lightness = (0.52, 0.42, 0.64)[k // 8 % 3]
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.58)
    return round(red * 255), round(green * 255), round(blue * 255)


def _smooth(labels: Labels) -> Labels:
    """Enlarge a coarse map with rounded borders: the region of largest blurred weight wins."""
    height, width = labels.shape
    scale = _OVERLAY_SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    regions = np.unique(labels)
    weights = [
        np.asarray(
            Image.fromarray(((labels == region) * 255).astype(np.uint8)).resize(
                size, Image.Resampling.BICUBIC
            )
        )
        for region in regions.tolist()
    ]
    winner: Labels = regions[np.argmax(np.stack(weights), axis=0)]
    return winner


def _eight_bit(image: Image.Image) -> Image.Image:
    """Bring any mode to RGB or RGBA, 16-bit grey included."""
    if image.mode.startswith(("I", "F")):
        deep = np.asarray(image, dtype=np.float32)
        scale = 255.0 if image.mode == "F" else 255.0 / 65535.0
        return Image.fromarray((deep * scale).clip(0, 255).astype(np.uint8)).convert("RGB")
    has_alpha = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
    return image.convert("RGBA" if has_alpha else "RGB")


def _data_uri(kind: str, buffer: io.BytesIO) -> str:
    return f"data:{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
