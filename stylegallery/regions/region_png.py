"""Region maps as indexed PNG files."""

import io

import numpy as np
from PIL import Image

from stylegallery.errors import BadImage
from stylegallery.images.opening import FORMATS
from stylegallery.palette import Labels


def decode_region_map(data: bytes) -> Labels:
    """Decode a region map, whose palette indices are the labels.

    Returns:
        (H, W) uint8.

    Raises:
        BadImage: the bytes are no image, or no indexed or gray one.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        image.load()
    except Exception as error:
        raise BadImage(f"a region map cannot be read: {error}") from error
    if image.mode not in ("P", "L"):
        raise BadImage(f"a region map is an indexed or gray PNG, not {image.mode}")
    return np.asarray(image, dtype=np.uint8)
