"""Region maps as indexed PNG files."""

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from stylegallery.errors import BadImage
from stylegallery.palette import Labels, region_color

if TYPE_CHECKING:  # decoding needs no torch
    from stylegallery.regions.region_map import RegionMap


def encode_region_map(regions: "RegionMap") -> bytes:
    """Encode a region map as an indexed PNG of one pixel per cell and one color per region."""
    out = io.BytesIO()
    region_map_image(regions).save(out, "PNG", compress_level=9)
    return out.getvalue()


def decode_region_map(data: bytes) -> Labels:
    """Decode a region map, whose palette indices are the labels.

    Returns:
        (H, W) uint8.

    Raises:
        BadImage: the bytes are no PNG, or no indexed or gray one.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=("PNG",))
        image.load()
    except Exception as error:
        raise BadImage(f"a region map cannot be read: {error}") from error
    if image.mode not in ("P", "L"):
        raise BadImage(f"a region map is an indexed or gray PNG, not {image.mode}")
    return np.asarray(image, dtype=np.uint8)


def region_map_image(regions: "RegionMap") -> Image.Image:
    """Return a region map as an image of mode P, one pixel per cell, whose values are the labels.

    All palette colors differ and none is black, so the image also works as a label image.

    Raises:
        ValueError: the map has more than 256 regions.
    """
    if regions.count > 256:
        raise ValueError(
            f"an indexed image holds at most 256 regions, not {regions.count}; fix fewer regions"
        )
    image = Image.fromarray(regions.to_array())
    image.putpalette([value for index in range(256) for value in region_color(index)])
    return image
