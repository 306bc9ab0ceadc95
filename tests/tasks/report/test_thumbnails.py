"""Thumbnails have the colors that the engine reads."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from stylegallery.images import codec
from tasks.report.thumbnails import Thumbnail, thumbnail
from tests.stylegallery.images.color_files import colors, gray_icc, rgb_icc, saved

PIXELS = colors(200, 160)
PICTURE = Image.fromarray(PIXELS)


def over_white(small: Thumbnail) -> np.ndarray:
    """Pixels as a browser shows them on white: (H, W, 3) in [0, 1]."""
    with Image.open(io.BytesIO(small.data)) as image:
        assert "icc_profile" not in image.info
        rgba = np.asarray(image.convert("RGBA")) / 255.0
    return rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]


def turned(kind: str, **options: Any) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return saved(PICTURE, kind, exif=exif, **options)


CLEAR = np.dstack([PIXELS, np.where(np.arange(160) < 80, 0, 255)[None].repeat(200, 0)])
GREY = PIXELS[..., 1].copy()
FILES = {
    "plain": saved(PICTURE, "PNG"),
    "p3 jpeg": saved(PICTURE, "JPEG", quality=95, icc_profile=rgb_icc("p3")),
    "adobe, turned": turned("JPEG", quality=95, icc_profile=rgb_icc("adobe", 2.2)),
    "indexed p3": saved(PICTURE.quantize(128), "PNG", icc_profile=rgb_icc("p3")),
    "grey of gamma 1": saved(Image.fromarray(GREY), "PNG", icc_profile=gray_icc(1.0)),
    "grey of 16 bits": saved(
        Image.fromarray(GREY.astype(np.uint16) * 257), "PNG", icc_profile=gray_icc(1.8)
    ),
    "floats to 255": saved(Image.fromarray(GREY.astype(np.float32)), "TIFF"),
    "clear in half": saved(
        Image.fromarray(CLEAR.astype(np.uint8)), "PNG", icc_profile=rgb_icc("p3")
    ),
    "broken exif": saved(PICTURE, "JPEG", quality=95, exif=b"Exif\0\0no TIFF at all"),
    "no end": saved(PICTURE, "JPEG", quality=95)[:-2],
}


@pytest.mark.parametrize("name", FILES)
def test_a_thumbnail_has_the_colors_of_the_engine(name: str) -> None:
    seen = codec.decode(FILES[name], "x").pixels
    small = thumbnail(FILES[name], 100, 95)
    expected = codec.resize(seen, (small.height, small.width))[0].permute(1, 2, 0).numpy()
    inner = slice(3, -3)
    error = np.abs(over_white(small) - expected)[inner, inner]
    assert error.mean() * 255 < 3
    assert (small.width, small.height) == ((100, 80) if "turned" in name else (80, 100))
