"""Every kind of file becomes an upright sRGB picture or a sentence that helps."""

import io
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from stylegallery import Picture
from stylegallery.errors import BadImage
from stylegallery.images import codec
from stylegallery.images.metadata import xmp_packet
from tests.stylegallery.images.color_files import colors, gradient, saved
from tests.tasks.pictures import huge_header


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "BMP", "TIFF"])
def test_lossless_formats_keep_every_value(image_format: str) -> None:
    options = {"lossless": True} if image_format == "WEBP" else {}
    picture = codec.decode(saved(gradient(), image_format, **options), "x")
    expected = torch.from_numpy(np.array(gradient())).permute(2, 0, 1)[None] / 255
    assert picture.size == (60, 40)
    assert picture.alpha is None
    assert torch.allclose(picture.pixels, expected)


def test_exif_rotation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = codec.decode(saved(gradient(40, 60), "JPEG", exif=exif), "x")
    assert picture.size == (40, 60)
    assert picture.pixels[0, 1, 0, 0] > 0.8  # the bottom left corner, green, is now top left


def test_cmyk_becomes_rgb() -> None:
    cmyk = Image.new("CMYK", (32, 32), (0, 255, 255, 0))
    picture = codec.decode(saved(cmyk, "JPEG"), "x")
    red, green, blue = picture.pixels.mean(dim=(0, 2, 3)).tolist()
    assert red > 0.9
    assert green < 0.2
    assert blue < 0.2


def test_sixteen_bits_keep_their_range() -> None:
    deep = Image.fromarray(np.linspace(0, 65535, 32 * 32).astype(np.uint16).reshape(32, 32))
    picture = codec.decode(saved(deep, "PNG"), "x")
    assert picture.pixels.shape == (1, 3, 32, 32)
    assert picture.pixels.max() == 1
    assert abs(float(picture.pixels.mean()) - 0.5) < 0.01


def test_transparency_is_kept_apart_and_laid_over_white() -> None:
    rgba = gradient().convert("RGBA")
    rgba.putalpha(Image.new("L", rgba.size, 0))
    picture = codec.decode(saved(rgba, "PNG"), "x")
    assert picture.alpha is not None
    assert picture.alpha.max() == 0
    assert picture.pixels.min() == 1


def test_palette_with_transparent_color() -> None:
    palette = gradient().quantize(8)
    picture = codec.decode(saved(palette, "PNG", transparency=0), "x")
    assert picture.alpha is not None
    assert 0 < float(picture.alpha.mean()) < 1


def test_color_profile_is_converted() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    broken = codec.decode(saved(gradient(), "PNG", icc_profile=b"nonsense"), "x")
    plain = codec.decode(saved(gradient(), "PNG"), "x")
    assert torch.equal(broken.pixels, plain.pixels)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    tagged = codec.decode(saved(gradient(), "PNG", icc_profile=srgb), "x")
    assert (tagged.pixels - plain.pixels).abs().max() < 2 / 255
    assert codec.decode(saved(gradient(), "PNG", icc_profile=lab), "x").size == (60, 40)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (saved(gradient(400, 400), "JPEG")[:2000], "cut short"),
        (b"this is text, not a picture", "not an image"),
        (b"", "not an image"),
        (saved(Image.new("RGB", (1, 1)), "PNG"), "at least 16 px"),
        (saved(Image.new("1", (20000, 20000)), "PNG"), "million pixels"),
        (
            saved(
                gradient(),
                "WEBP",
                save_all=True,
                append_images=[gradient().rotate(90)],
                lossless=True,
            ),
            "animated",
        ),
    ],
    ids=["truncated", "text", "empty", "tiny", "bomb", "animated"],
)
def test_unusable_files_are_refused_with_a_sentence(data: bytes, says: str) -> None:
    with pytest.raises(BadImage, match=says) as caught:
        codec.decode(data, "shoe.jpg")
    assert str(caught.value).startswith("shoe.jpg")
    assert str(caught.value).endswith(".")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadImage, match="nowhere"):
        codec.open_picture(tmp_path / "nowhere.png")


@pytest.mark.parametrize("image_format", ["png", "webp", "jpg"])
@pytest.mark.parametrize("with_alpha", [False, True])
def test_encoding_round_trip(image_format: str, with_alpha: bool) -> None:
    pixels = torch.from_numpy(np.array(gradient())).permute(2, 0, 1)[None] / 255
    alpha = torch.full((1, 1, 60, 40), 1.0)
    alpha[..., :10] = 0.0
    picture = Picture(pixels, alpha if with_alpha else None)
    data = codec.encode(picture, image_format, note='{"a": 1}')
    assert data == codec.encode(picture, image_format, note='{"a": 1}')
    assert codec.read_note(data) == '{"a": 1}'
    again = codec.decode(data, "x")
    assert again.size == (60, 40)
    assert (again.alpha is not None) == (with_alpha and image_format != "jpg")
    shown = slice(10, None)
    tolerance = 0.06 if image_format == "jpg" else 1e-6
    assert (again.pixels[..., shown] - pixels[..., shown]).abs().max() <= tolerance


def test_lab_colors_become_rgb() -> None:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    flat = Image.new("RGB", (32, 32), (200, 30, 40))
    as_lab = ImageCms.profileToProfile(flat, srgb, lab, outputMode="LAB")
    assert as_lab is not None
    picture = codec.decode(saved(as_lab, "TIFF"), "x")
    assert (picture.pixels[0, :, 5, 5] * 255 - torch.tensor([200, 30, 40])).abs().max() < 4


def test_note_of_a_foreign_file_is_empty() -> None:
    assert codec.read_note(b"junk") == ""
    assert codec.read_note(huge_header(saved(gradient(), "PNG"))) == ""  # found by fuzzing
    assert codec.read_note(saved(gradient(), "PNG")) == ""


@pytest.mark.parametrize("image_format", ["png", "webp", "jpg"])
def test_files_carry_the_profile_and_say_where_they_come_from(image_format: str) -> None:
    picture = codec.decode(saved(gradient(), "PNG"), "x")
    data = codec.encode(picture, image_format, '{"a": 1}', rights="CC BY 4.0, Jané <j@x>")
    with Image.open(io.BytesIO(data)) as image:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        assert "sRGB" in ImageCms.getProfileDescription(profile)
        xmp = image.info["xmp"].decode()
    assert "digitalsourcetype/trainedAlgorithmicMedia" in xmp
    assert ">CC BY 4.0, Jané &lt;j@x&gt;</rdf:li>" in xmp
    ElementTree.fromstring(xmp)
    assert b"xpacket" not in codec.encode(picture, image_format)


def test_rights_with_control_characters_are_still_xml() -> None:
    packet = ElementTree.fromstring(xmp_packet("A. \x1b[31mPainter\x00\n\ud800\ufffe <&>"))
    text = "".join(packet.itertext())
    assert "Painter" in text
    assert "<&>" in text


def test_quality_is_honoured() -> None:
    picture = Picture(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    for image_format in ("jpg", "webp"):
        sizes = [len(codec.encode(picture, image_format, quality=q)) for q in (10, 50, 90)]
        assert sizes == sorted(sizes)
    assert codec.encode(picture, "jpg") == codec.encode(picture, "jpg", quality=95)
    again = codec.decode(codec.encode(picture, "webp"), "x")
    assert (again.pixels - picture.pixels).abs().max() <= 0.51 / 255


def test_half_transparent_colors_come_back_and_jpg_shows_them_over_white() -> None:
    rows, columns = np.mgrid[0:60, 0:40]
    rgba = np.stack([columns * 6, rows * 4, rows + columns, 1 + columns * 6], -1).astype(np.uint8)
    picture = codec.decode(saved(Image.fromarray(rgba), "PNG"), "x")
    for image_format in ("png", "webp"):
        with Image.open(io.BytesIO(codec.encode(picture, image_format))) as image:
            assert np.array_equal(np.asarray(image), rgba)
    flat = codec.decode(codec.encode(picture, "jpg"), "x")
    assert (flat.pixels - picture.pixels).abs().mean() < 0.01
    dark = Picture(torch.zeros(1, 3, 32, 32), torch.zeros(1, 1, 32, 32))
    assert codec.decode(codec.encode(dark, "jpg"), "x").pixels.min() > 0.99


def test_a_note_too_long_for_jpg_is_left_out() -> None:
    picture = codec.decode(saved(gradient(), "PNG"), "x")
    long = "x" * 70_000
    assert codec.read_note(codec.encode(picture, "jpg", long)) == ""
    for image_format in ("png", "webp"):
        assert codec.read_note(codec.encode(picture, image_format, long)) == long


PICTURE = Image.fromarray(np.tile(colors(), (4, 4, 1)))


WAYS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "best": {"quality": 98, "subsampling": 0},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_jpeg_without_its_end_is_a_picture(way: str) -> None:
    data = saved(PICTURE, "JPEG", **WAYS[way])
    whole = codec.decode(data, "x").pixels
    for cut in (1, 2):
        assert torch.equal(codec.decode(data[:-cut], "x").pixels, whole)
    for tail in (b"\0" * 9, b"\r\n"):
        assert torch.equal(codec.decode(data + tail, "x").pixels, whole)
        assert torch.equal(codec.decode(data[:-2] + tail, "x").pixels, whole)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("cut", [8, 30, 200, 0.5])
def test_a_jpeg_without_pixels_is_refused(way: str, cut: float) -> None:
    data = saved(PICTURE, "JPEG", **WAYS[way])
    missing = int(cut * len(data)) if cut < 1 else int(cut)
    with pytest.raises(BadImage, match=r"^shoe\.jpg is damaged or cut short .* export it again"):
        codec.decode(data[:-missing], "shoe.jpg")
