"""Small pictures for the report: photos, and region maps as transparent overlays."""

import base64
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from stylegallery.errors import BadImage
from stylegallery.opening import FORMATS, open_image
from stylegallery.palette import NEUTRAL, Colour, Labels, edges, enlarge
from stylegallery.reading import read_srgb, to_eight_bit

SIDE: Final = 640
"""Longer side of the small pictures that are kept for the report, and of its largest."""
_OVERLAY_SIDE = 176
_FILL_ALPHA, _EDGE_ALPHA = 150, 255


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


def thumbnail_path(version: str) -> str:
    """Return where, below the output root, the small picture of some bytes is kept.

    Args:
        version: Which bytes: see :func:`tasks.storage.version`.
    """
    return f"thumbnails/{hashlib.sha256(version.encode()).hexdigest()}.webp"


def thumbnail(data: bytes, side: int, quality: int) -> Thumbnail:
    """Shrink an image file to `side` pixels on its longer side, as WebP in sRGB.

    It is read as the engine reads it, and a large JPEG is decoded small.

    Raises:
        NotAnImage: the bytes cannot be decoded.
    """
    try:
        planes = read_srgb(open_image(data, "the picture"), "the picture", side=side)
    except BadImage as error:
        raise NotAnImage(str(error)) from error
    small = planes.colour
    if small.mode == "F":
        small = to_eight_bit(small).convert("RGB")
    if planes.alpha:
        small.putalpha(planes.alpha)
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=quality, method=4, icc_profile=b"")  # browsers take sRGB
    return Thumbnail(_data_uri("image/webp", buffer), small.width, small.height)


def read_labels(data: bytes) -> Labels:
    """Read a region map: the index values of an indexed PNG, one per region.

    Raises:
        NotAnImage: the bytes cannot be decoded.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
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
    scale = _OVERLAY_SIDE / max(labels.shape)
    height, width = (max(1, round(side * scale)) for side in labels.shape)
    fine = enlarge(labels, (height, width))
    edge = edges(fine)
    used = np.unique(fine)
    # Palette entries 2k and 2k + 1: fill and edge of the k-th region in the map.
    index = np.searchsorted(used, fine).astype(np.uint8) * 2 + edge
    palette, alpha = bytearray(), bytearray()
    for region in used.tolist():
        colour = colours.get(region, NEUTRAL)
        palette += bytes((*colour, *(round(c * 0.7) for c in colour)))
        alpha += bytes((0 if region in clear else _FILL_ALPHA, _EDGE_ALPHA))
    image = Image.fromarray(index, "P")
    image.putpalette(bytes(palette))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True, transparency=bytes(alpha))
    return Thumbnail(_data_uri("image/png", buffer), image.width, image.height)


def _data_uri(kind: str, buffer: io.BytesIO) -> str:
    return f"data:{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
