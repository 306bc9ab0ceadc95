"""One reader for all files: modes, depths, profiles, turns and transparency, against libvips."""

import io
from itertools import product
from typing import Any

import numpy as np
import pytest
import pyvips
import tifffile
import torch
from PIL import ExifTags, Image

from stylegallery.errors import BadImage
from stylegallery.images import codec
from stylegallery.images.opening import open_image
from stylegallery.images.reading import read_srgb
from stylegallery.regions import label_images
from tests.stylegallery.images.color_files import (
    Floats,
    colors,
    gray_icc,
    linear,
    png_of,
    rgb_icc,
    saved,
    shown,
)

HEIGHT, WIDTH = 40, 32
PIXELS = colors(HEIGHT, WIDTH)
ALPHA = np.tile(np.linspace(0, 300, WIDTH).clip(0, 255), (HEIGHT, 1)).round()
PROFILES: dict[str, dict[str, bytes | None]] = {
    "gray": {"none": None, "gamma 1.8": gray_icc(1.8), "linear": gray_icc(1.0), "bad": b"junk"},
    "color": {
        "none": None,
        "p3": rgb_icc("p3"),
        "adobe": rgb_icc("adobe", 2.2),
        "linear": rgb_icc("rec2020", 1.0),
        "bad": b"junk",
    },
}
WRITERS: dict[str, dict[str, Any]] = {
    "png": {},
    "tiff": {"compression": "none"},
    "tiff tiled": {"compression": "deflate", "predictor": "horizontal", "tile": True},
    "tiff premultiplied": {"compression": "lzw", "premultiply": True},
    "jpeg": {"Q": 95, "subsample_mode": "off"},
    "webp": {"lossless": True, "exact": True},
}
MATRIX = [
    (kind, mode, depth)
    for kind, mode, depth in product(WRITERS, ("L", "LA", "RGB", "RGBA"), (8, 16))
    if (depth == 8 or kind.startswith(("png", "tiff")))
    and not (kind == "jpeg" and mode.endswith("A"))
    and not (kind == "tiff premultiplied" and not mode.endswith("A"))
    and (mode, depth, kind[:4]) != ("LA", 16, "tiff")
]


def written(kind: str, mode: str, depth: int, profile: bytes | None, turn: int) -> bytes:
    """The test picture as libvips writes it."""
    alpha = ALPHA[..., None]
    planes = PIXELS.astype(float) if mode[0] == "R" else PIXELS.mean(-1, keepdims=True)
    values = np.concatenate([planes, alpha], -1) if mode.endswith("A") else planes
    dtype, scale = (np.uint8, 1) if depth == 8 else (np.uint16, 257)
    image = pyvips.Image.new_from_array(np.ascontiguousarray((values * scale).astype(dtype)))
    names = {("L", 8): "b-w", ("L", 16): "grey16", ("R", 8): "srgb", ("R", 16): "rgb16"}
    image = image.copy(interpretation=names[mode[0], depth])
    if profile:
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    image.set_type(pyvips.GValue.gint_type, "orientation", turn)
    container, *_ = kind.split()
    options = WRITERS[kind] | ({"bitdepth": depth} if kind == "png" else {})
    data: bytes = image.write_to_buffer(f".{container}", **options)
    return data


def independent(data: bytes) -> Floats:
    """What libvips reads: (H, W, 3) sRGB in [0, 1], laid over white."""
    image = pyvips.Image.new_from_buffer(data, "").autorot()
    deep = image.format == "ushort"
    usable = image.get_typeof("icc-profile-data") and image.get("icc-profile-data") != b"junk"
    if usable:
        options = {"embedded": True, "intent": "perceptual", "depth": 16 if deep else 8}
        image = image.icc_transform("srgb", **options)
    else:
        image = image.colourspace("rgb16" if deep else "srgb")
    values = image.numpy() / (65535.0 if image.format == "ushort" else 255.0)
    values = values.reshape(*values.shape[:2], -1)
    if values.shape[-1] in (2, 4):
        values = values[..., :-1] * values[..., -1:] + 1 - values[..., -1:]
    return np.broadcast_to(values, (*values.shape[:2], 3))


def error(data: bytes, expected: Floats) -> float:
    """Mean error in steps of 8 bits."""
    pixels = codec.decode(data, "x").pixels[0].permute(1, 2, 0).double().numpy()
    assert pixels.shape == expected.shape
    return float(np.abs(pixels - expected).mean() * 255)


@pytest.mark.parametrize(("kind", "mode", "depth"), MATRIX, ids=lambda value: str(value))
def test_every_file_looks_as_libvips_sees_it(kind: str, mode: str, depth: int) -> None:
    for name, profile in PROFILES["color" if mode[0] == "R" else "gray"].items():
        for turn in (1, 3, 6, 7):
            data = written(kind, mode, depth, profile, turn)
            assert error(data, independent(data)) < 1, (name, turn)


@pytest.mark.parametrize("kind", ["tiff", "tiff tiled", "tiff premultiplied"])
def test_a_tiff_of_another_kind_is_refused_in_a_sentence(kind: str) -> None:
    with pytest.raises(BadImage, match=r"or 16-bit gray with transparency\); save it as RGB"):
        codec.decode(written(kind, "LA", 16, None, 1), "x")


@pytest.mark.parametrize("turn", range(1, 9))
def test_all_turns(turn: int) -> None:
    data = written("png", "RGBA", 8, rgb_icc("p3"), turn)
    assert error(data, independent(data)) < 1
    gray = written("png", "L", 8, None, turn)
    assert label_images.decode_protection(gray, "m").shape[-2:] == codec.decode(gray, "x").size
    assert label_images.decode_labels(gray, "m").shape == codec.decode(gray, "x").size


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_inks_are_converted_by_their_profile(kind: str) -> None:
    profile = pyvips.Operation.call("profile_load", "cmyk")
    inks = np.dstack([PIXELS, np.full((HEIGHT, WIDTH), 20, np.uint8)])
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    data = saved(Image.fromarray(inks, "CMYK"), kind, icc_profile=profile, **options)
    assert error(data, independent(data)) < 1


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("mode", ["P", "PA", "P with alpha"])
def test_indexed_pictures_are_converted_by_their_profile(kind: str, mode: str) -> None:
    image = Image.fromarray(PIXELS).quantize(64)
    expected = shown(np.asarray(image.convert("RGB")), "p3", linear)
    options: dict[str, Any] = {"icc_profile": rgb_icc("p3")}
    if mode == "PA" and kind == "TIFF":
        image = image.convert("PA")
    if mode != "P" and kind == "PNG":
        options["transparency"] = 0 if mode == "PA" else bytes([0, 128, 255])
        share = np.ones(256)
        share[: 1 if mode == "PA" else 3] = 0 if mode == "PA" else (0, 128 / 255, 1)
        alpha = share[np.asarray(image)][..., None]
        expected = expected * alpha + 1 - alpha
    assert error(saved(image, kind, **options), expected) < 1


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_one_clear_gray_of_any_depth(depth: int) -> None:
    top = (1 << depth) - 1
    values = np.tile(np.arange(WIDTH) * top // (WIDTH - 1), (HEIGHT, 1))
    data = png_of(values, depth, 0, (b"tRNS", top.to_bytes(2, "big")))
    picture = codec.decode(data, "x")
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha[0, 0].numpy(), values != top)
    expected = np.stack([np.where(values == top, 1, values / top)] * 3, -1)
    assert error(data, expected) < 0.01
    assert label_images.decode_protection(data, "m")[0, 0, :, -1].max() == 0
    assert label_images.decode_labels(data, "m")[:, -1].max() == 0


def test_one_clear_color_of_sixteen_bits() -> None:
    values = PIXELS.astype(np.uint16) * 257
    clear = values[5, 7].astype(">u2").tobytes()
    picture = codec.decode(png_of(values, 16, 2, (b"tRNS", clear)), "x")
    assert picture.alpha is not None
    assert np.argwhere(picture.alpha[0, 0].numpy() == 0).tolist() == [[5, 7]]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0garbage, not a TIFF header",
        b"Exif\0\0II*\0\xff\xff\xff\x7f",
        b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01\x03\0",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x63\0\0\0\0\0\0",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x026\0\0\0\0\0\0\0",
        b"",
    ],
    ids=["garbage", "far away", "cut short", "turned 99", "turned by text", "empty"],
)
def test_broken_exif_is_ignored(kind: str, exif: bytes) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    image = Image.fromarray(PIXELS)
    data, plain = saved(image, kind, exif=exif, **options), saved(image, kind, **options)
    for side in (0, 16):
        read = [
            np.asarray(read_srgb(open_image(d, "x"), "x", side=side).color) for d in (data, plain)
        ]
        assert np.array_equal(*read)


def test_premultiplied_gray_is_as_bright_as_it_was() -> None:
    gray, alpha = PIXELS[..., 1].astype(float), ALPHA / 255
    stored = np.dstack([(gray * alpha).round(), ALPHA]).astype(np.uint8)
    out = io.BytesIO()
    options: dict[str, Any] = {"photometric": "minisblack", "planarconfig": "contig"}
    tifffile.imwrite(out, stored, extrasamples=["ASSOCALPHA"], **options)
    expected = gray / 255 * alpha + 1 - alpha
    assert error(out.getvalue(), np.stack([expected] * 3, -1)) < 1


def test_what_is_hidden_lends_nothing_to_a_smaller_picture() -> None:
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[:, ::2] = (255, 0, 0, 255)
    rgba[:, 1::2] = (0, 255, 0, 0)
    planes = read_srgb(open_image(saved(Image.fromarray(rgba), "PNG"), "x"), "x", side=16)
    assert planes.color.size == (16, 16)
    assert np.asarray(planes.color)[8, 8].tolist() == [255, 0, 0]
    deep = png_of(np.tile(np.arange(64) * 1000, (64, 1)), 16, 0, (b"tRNS", b"\0\0"))
    assert read_srgb(open_image(deep, "x"), "x", side=16).color.size == (16, 16)


def test_a_large_jpeg_is_decoded_small() -> None:
    image = open_image(saved(Image.new("RGB", (1600, 1200), "red"), "JPEG"), "x")
    read_srgb(image, "x", side=100)
    assert image.size == (400, 300)


def test_lab_is_read_small_too() -> None:
    lab = Image.merge("LAB", [Image.new("L", (64, 48), value) for value in (120, 200, 60)])
    data = saved(lab, "TIFF")
    whole = codec.decode(data, "x").pixels[0, :, 5, 5]
    small = np.asarray(read_srgb(open_image(data, "x"), "x", side=16).color)[5, 5] / 255
    assert (whole - torch.from_numpy(small)).abs().max() < 0.02


def test_exif_after_the_pixels_turns_them() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    data = saved(Image.fromarray(PIXELS), "PNG", exif=exif)
    start = data.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4], "big")
    moved = data[:start] + data[end:-12] + data[start:end] + data[-12:]
    assert codec.decode(moved, "x").size == (WIDTH, HEIGHT)
    assert torch.equal(codec.decode(moved, "x").pixels, codec.decode(data, "x").pixels)
