"""Colors that a file names without a profile of its own, against plain maths."""

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, TiffImagePlugin

from stylegallery.errors import BadImage
from stylegallery.images import codec
from stylegallery.images.icc import ColorSpace, ToneCurve, rgb_profile
from tests.stylegallery.images.color_files import (
    D65,
    PRIMARIES,
    Floats,
    colors,
    gray_icc,
    linear,
    rgb_icc,
    saved,
    shown,
    with_chunks,
)

PIXELS = colors()
PNG = saved(Image.fromarray(PIXELS), "PNG")


def read(data: bytes) -> Floats:
    return codec.decode(data, "x").pixels[0].permute(1, 2, 0).double().numpy()


def error(data: bytes, expected: Floats) -> float:
    """Mean error in steps of 8 bits."""
    return float(np.abs(read(data) - expected).mean() * 255)


def power(gamma: float) -> Callable[[Floats], Floats]:
    return lambda values: values**gamma


def bt709(values: Floats) -> Floats:
    return np.where(values < 0.081, values / 4.5, ((values + 0.099) / 1.099) ** (1 / 0.45))


def cicp(*numbers: int) -> tuple[bytes, bytes]:
    return b"cICP", bytes(numbers)


def gama(gamma: float) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", round(100_000 / gamma))


def chrm(primaries: str) -> tuple[bytes, bytes]:
    numbers = [round(value * 100_000) for point in (D65, *PRIMARIES[primaries]) for value in point]
    return b"cHRM", struct.pack(">8I", *numbers)


@pytest.mark.parametrize(
    ("chunks", "primaries", "decode"),
    [
        ([cicp(12, 13, 0, 1)], "p3", linear),
        ([cicp(9, 14, 0, 1)], "rec2020", bt709),
        ([cicp(9, 8, 0, 1)], "rec2020", power(1.0)),
        ([cicp(1, 4, 0, 1)], "srgb", power(2.2)),
        ([gama(1.0)], "srgb", power(1.0)),
        ([gama(1.8)], "srgb", power(1.8)),
        ([gama(2.2), chrm("adobe")], "adobe", power(2.2)),
        ([chrm("p3")], "p3", linear),
        ([gama(1.0), cicp(12, 13, 0, 1)], "p3", linear),
        ([cicp(2, 2, 0, 1), gama(1.8)], "srgb", power(1.8)),
        ([cicp(12, 13, 1, 1), gama(1.8)], "srgb", power(1.8)),
    ],
    ids=lambda value: value.__name__ if callable(value) else str(value)[:40],
)
def test_png_chunks_name_the_colors(
    chunks: list[tuple[bytes, bytes]], primaries: str, decode: Callable[[Floats], Floats]
) -> None:
    data = with_chunks(PNG, *chunks)
    assert error(data, shown(PIXELS, primaries, decode)) < 1
    assert error(data, PIXELS / 255.0) > 1.5  # the numbers alone would be wrong


@pytest.mark.parametrize(
    "chunks",
    [
        [gama(2.2)],
        [gama(2.2), chrm("srgb")],
        [(b"sRGB", b"\0"), gama(1.0), chrm("p3")],
        [cicp(1, 13, 0, 1), gama(1.0)],
        [(b"gAMA", bytes(4))],
        [(b"gAMA", b"\0\0\0\1")],
        [(b"gAMA", b"\xff" * 4)],
        [(b"cHRM", b"\xff" * 32)],
        [(b"cHRM", bytes(32)), gama(2.2)],
        [(b"cHRM", struct.pack(">8I", *[33_333] * 8)), gama(2.2)],
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_means_srgb_or_nothing_changes_no_value(chunks: list[tuple[bytes, bytes]]) -> None:
    assert np.array_equal(read(with_chunks(PNG, *chunks)), read(PNG))


def test_cicp_counts_before_a_profile_and_a_profile_before_gama() -> None:
    profiled = saved(Image.fromarray(PIXELS), "PNG", icc_profile=rgb_icc("adobe", 2.2))
    assert error(with_chunks(profiled, gama(1.0)), shown(PIXELS, "adobe", power(2.2))) < 1
    assert error(with_chunks(profiled, cicp(12, 13, 0, 1)), shown(PIXELS, "p3", linear)) < 1


def test_gama_holds_for_gray_indexed_and_sixteen_bits() -> None:
    gray = PIXELS[..., 0].copy()
    expected = shown(np.stack([gray] * 3, -1), "srgb", power(1.0))
    deep = Image.fromarray(gray.astype(np.uint16) * 257)
    for image in (Image.fromarray(gray), Image.fromarray(gray).convert("P"), deep):
        assert error(with_chunks(saved(image, "PNG"), gama(1.0)), expected) < 1


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        ((9, 16, 0, 1), r"high dynamic range \(PQ\); export it"),
        ((9, 18, 0, 1), r"high dynamic range \(HLG\); export it"),
        ((12, 13, 0, 0), "video range"),
    ],
)
def test_colors_that_a_page_cannot_show_are_refused(numbers: tuple[int, ...], says: str) -> None:
    with pytest.raises(BadImage, match=rf"^shoe\.png .*{says}.*\.$"):
        codec.decode(with_chunks(PNG, cicp(*numbers)), "shoe.png")


def test_avif_names_its_colors_by_the_same_numbers() -> None:
    plain = saved(Image.fromarray(PIXELS), "AVIF", quality=100, subsampling="4:4:4")
    at = plain.index(b"colrnclx") + 8
    own = codec.decode(plain, "x").pixels

    def coded(primaries: int, transfer: int) -> bytes:
        return plain[:at] + struct.pack(">HH", primaries, transfer) + plain[at + 4 :]

    numbers = (own[0].permute(1, 2, 0).numpy() * 255).round()
    assert error(coded(12, 13), shown(numbers, "p3", linear)) < 1
    with pytest.raises(BadImage, match="PQ"):
        codec.decode(coded(9, 16), "x")
    assert torch.equal(codec.decode(coded(1, 1), "x").pixels, own)


def adobe_exif(color_space: int | None, index: str | bytes | None) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "camera"  # without a plain tag Pillow writes none to PNG
    if color_space is not None:
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ColorSpace] = color_space
    if index is not None:
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.IFD.Interop] = {1: index}
    return exif


@pytest.mark.parametrize(("color_space", "index"), [(2, None), (None, "R03"), (65535, b"R03\0")])
def test_adobe_rgb_as_some_cameras_write_it(
    color_space: int | None, index: str | bytes | None
) -> None:
    data = saved(Image.fromarray(PIXELS), "PNG", exif=adobe_exif(color_space, index))
    assert error(data, shown(PIXELS, "adobe", power(563 / 256))) < 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_adobe_rgb_told_by_exif_alone(kind: str) -> None:
    image = Image.fromarray(PIXELS)
    exif = adobe_exif(65535, "R03")
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[ExifTags.IFD.Exif] = dict(exif.get_ifd(ExifTags.IFD.Exif))
    options: dict[str, dict[str, Any]] = {
        "JPEG": {"exif": exif, "quality": 100, "subsampling": 0},
        "PNG": {"exif": exif},
        "WEBP": {"exif": exif, "lossless": True},
        "TIFF": {"tiffinfo": tags},
    }
    data = saved(image, kind, **options[kind])
    assert error(data, shown(PIXELS, "adobe", power(563 / 256))) < 1


@pytest.mark.parametrize(("color_space", "index"), [(1, "R03"), (65535, "R98"), (65535, None)])
def test_other_exif_means_srgb(color_space: int, index: str | None) -> None:
    data = saved(Image.fromarray(PIXELS), "PNG", exif=adobe_exif(color_space, index))
    assert np.array_equal(read(data), read(PNG))


def test_a_profile_counts_before_exif_and_a_gray_one_says_nothing_of_colors() -> None:
    image, exif = Image.fromarray(PIXELS), adobe_exif(65535, "R03")
    data = saved(image, "PNG", exif=exif, icc_profile=rgb_icc("p3"))
    assert error(data, shown(PIXELS, "p3", linear)) < 1
    other = saved(image, "PNG", icc_profile=gray_icc(1.0))
    assert np.array_equal(read(other), read(PNG))


def test_primaries_that_span_no_colors_make_no_profile() -> None:
    point = (0.3, 0.3)
    for points in ((point, point, point), ((0.6, 0.0), (0.3, 0.6), (0.1, 0.1))):
        with pytest.raises(ValueError, match="color"):
            rgb_profile(ColorSpace(*points, D65, ToneCurve(2.2)))
