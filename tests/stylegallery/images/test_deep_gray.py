"""Gray of more than 8 bits is as bright as it was meant, or refused; never all black or white."""

import io
import struct
from typing import Any

import numpy as np
import pytest
import tifffile

from stylegallery.errors import BadImage, BadMask
from stylegallery.images import codec
from stylegallery.regions import label_images
from tests.stylegallery.images.color_files import colors, png_of

GRAY = colors()[..., 1] / 255.0


def tiff(values: np.ndarray, **options: Any) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, values, **options)
    return out.getvalue()


def read(data: bytes) -> np.ndarray:
    return codec.decode(data, "x").pixels[0, 0].numpy()


@pytest.mark.parametrize(
    ("dtype", "white"),
    [
        ("float32", 1),
        ("float32", 200),
        ("float32", 255),
        ("float32", 65535),
        ("int32", 255),
        ("int32", 65535),
        ("int32", 2**31 - 1),
        ("uint32", 255),
        ("uint32", 2**32 - 1),
        ("int16", 255),
        ("int16", 32767),
        ("uint16", 65535),
    ],
)
def test_the_range_is_told_by_type_and_numbers(dtype: str, white: int) -> None:
    values = (GRAY * white).astype(dtype)
    top = 255 if white == 200 else white
    assert np.abs(read(tiff(values)) - values / top).max() < 1 / 255


@pytest.mark.parametrize("dtype", ["float32", "int32", "int16", "uint16"])
def test_most_significant_byte_first(dtype: str) -> None:
    white = 65535 if dtype == "uint16" else 255
    values = (GRAY * white).astype(dtype)
    assert np.abs(read(tiff(values, byteorder=">")) - values / white).max() < 1 / 255


@pytest.mark.parametrize("dtype", ["float32", "uint16"])
def test_white_may_be_zero(dtype: str) -> None:
    values = ((1 - GRAY) * 65535).astype(dtype)
    assert np.abs(read(tiff(values, photometric="miniswhite")) - GRAY).max() < 1 / 255


def test_twelve_bits_are_as_bright_as_sixteen() -> None:
    values = (GRAY * 4095).round().astype(np.uint16)
    bits = np.unpackbits(values.astype(">u2").view(np.uint8).reshape(*values.shape, 2), axis=-1)
    packed = np.packbits(bits[..., 4:].reshape(len(values), -1), axis=-1).tobytes()
    height, width = values.shape
    tags = {256: width, 257: height, 258: 12, 259: 1, 262: 1, 277: 1, 278: height}
    entries = {**tags, 273: 8 + 2 + 12 * 9 + 4, 279: len(packed)}
    data = b"II*\0\x08\0\0\0" + struct.pack("<H", 9)
    data += b"".join(struct.pack("<HHII", tag, 4, 1, entries[tag]) for tag in sorted(entries))
    assert np.abs(read(data + bytes(4) + packed) - values / 4095).max() < 1e-4


@pytest.mark.parametrize(
    "values",
    [
        GRAY * 2 - 1,
        GRAY * 3,
        GRAY * 12,
        GRAY * 1000,
        GRAY * 1e9,
    ],
    ids=["-1 to 1", "0 to 3", "0 to 12", "0 to 1000", "0 to 1e9"],
)
def test_numbers_that_tell_no_white_are_refused(values: np.ndarray) -> None:
    data = tiff(values.astype(np.float32))
    with pytest.raises(BadImage, match=r"^scan\.tif holds 32-bit values from .* save it with 8"):
        codec.decode(data, "scan.tif")
    with pytest.raises(BadMask, match="do not tell what is black and what is white"):
        label_images.decode_protection(data, "m.tif")


@pytest.mark.parametrize("most", [1, 40, 255])
def test_eight_bits_in_sixteen_are_not_taken_for_black(most: int) -> None:
    values = (GRAY * most).round().astype(np.uint16)
    for data in (tiff(values), png_of(values, 16, 0)):
        with pytest.raises(BadImage, match=rf"no value above {most} of 65535, so it would be"):
            codec.decode(data, "x")
    assert codec.decode(tiff(values * 0), "x").pixels.max() == 0  # black is black


def test_numbers_that_are_none_are_refused() -> None:
    for hole in (np.nan, np.inf):
        data = tiff(np.where(GRAY > 0.9, hole, GRAY).astype(np.float32))
        with pytest.raises(BadImage, match="not finite; export it again"):
            codec.decode(data, "x")


def test_colors_in_floating_point_are_refused_in_a_sentence() -> None:
    for values in (colors() / np.float32(255), GRAY.astype(np.float64), GRAY.astype(np.float16)):
        data = tiff(values.astype(values.dtype), photometric="rgb" if values.ndim > 2 else None)
        with pytest.raises(BadImage, match=r"floating point.*save it as RGB of 8 bits"):
            codec.decode(data, "x")


@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32"])
def test_small_numbers_are_labels(dtype: str) -> None:
    labels = np.repeat(np.arange(4), 16)[:, None] * np.ones(48)
    found = label_images.decode_labels(tiff(labels.astype(dtype)), "m")
    assert np.array_equal(found.numpy(), labels)


def test_a_protection_of_zeros_and_ones_protects() -> None:
    data = tiff((GRAY > 0.5).astype(np.int32))
    assert np.array_equal(label_images.decode_protection(data, "m")[0, 0].numpy(), GRAY > 0.5)
