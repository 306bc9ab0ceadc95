"""Decode image files to pictures and encode pictures to files."""

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import ExifTags, Image, PngImagePlugin
from torch import Tensor
from torch.nn import functional as F

from stylegallery.errors import BadImage
from stylegallery.images.color_spaces import srgb_profile
from stylegallery.images.metadata import xmp_packet
from stylegallery.images.opening import check_still, open_image
from stylegallery.images.picture import Picture
from stylegallery.images.reading import read_srgb

MIN_SIDE = 16
MAX_ASPECT = 16  # encoder and latent keep the aspect ratio, so extreme ones would fill the memory
_MOST_SIDE = {"png": math.inf, "webp": 16_383, "jpg": 65_500}
"""Longest side in pixels that the encoders write."""
_NOTE_KEY = "stylegallery"
_JPEG_NOTE = 65_000


def open_picture(path: str | Path) -> Picture:
    """Read and decode an image file (see :func:`decode`).

    Raises:
        BadImage: the file is missing or cannot be used.
    """
    file = Path(path)
    if not file.is_file():
        raise BadImage(f"{file} is not a file; check the path.")
    return decode(file.read_bytes(), str(file))


def decode(data: bytes, name: str) -> Picture:
    """Decode an image file to an upright sRGB picture.

    EXIF rotation is applied and every color space is converted to sRGB. Gray of 16 and 32 bits
    keeps its precision. Transparent pixels are composited over white, and alpha is kept.

    Args:
        data: The file's bytes.
        name: Name of the file in messages.

    Raises:
        BadImage: the file is not an image, truncated, animated, too small, too large or too narrow.
    """
    image = open_image(data, name)
    check_still(image, name)
    check_sides(image.size[::-1], name)
    planes = read_srgb(image, name)
    pixels = _to_float(planes.color)
    alpha = _to_float(planes.alpha) if planes.alpha else None
    if alpha is not None:
        pixels.mul_(alpha).add_(1 - alpha)
    return Picture(pixels, alpha)


def encode(
    picture: Picture, image_format: str, note: str = "", *, rights: str = "", quality: int = 0
) -> bytes:
    """Encode a picture with the sRGB profile; the same arguments always give the same bytes.

    Args:
        picture: Written in 8 bits; png and webp keep alpha, jpg composites over white. A picture
            decoded from 8 bits keeps its values, with or without alpha.
        image_format: `png`, `webp` or `jpg`.
        note: ASCII text on how the picture was made, for :func:`read_note`. With a note, the
            file also says in XMP that it was made with AI. jpg holds 64 kB; a longer note is
            omitted.
        rights: Licenses and credits, for XMP.
        quality: 1 to 100 for jpg and lossy webp; 0 means lossless webp, or jpg of quality 95.
    """
    out = io.BytesIO()
    options: dict[str, Any] = {"icc_profile": srgb_profile()}
    if image_format == "png":
        info = PngImagePlugin.PngInfo()
        if note:
            info.add_text(_NOTE_KEY, note)
            info.add_itxt("XML:com.adobe.xmp", xmp_packet(rights).decode())
        _to_image(picture).save(out, "PNG", pnginfo=info, compress_level=6, **options)
        return out.getvalue()
    if note:
        options["xmp"] = xmp_packet(rights)
    if note and (image_format == "webp" or len(note) < _JPEG_NOTE):
        options["exif"] = Image.Exif()
        options["exif"][ExifTags.Base.ImageDescription] = note
    if image_format == "webp":
        how = {"quality": quality} if quality else {"lossless": True, "quality": 60, "exact": True}
        _to_image(picture).save(out, "WEBP", method=4, **how, **options)
    else:
        flat = _to_image(Picture(_over_white(picture)))
        flat.save(out, "JPEG", quality=quality or 95, subsampling=0, **options)
    return out.getvalue()


def read_note(data: bytes) -> str:
    """Return the note that :func:`encode` stored, or empty text if there is none."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "WEBP", "JPEG")) as image:
            text = image.info.get(_NOTE_KEY) or image.getexif().get(
                ExifTags.Base.ImageDescription, ""
            )
    except MemoryError:
        raise
    except Exception:  # parsers raise any exception on broken data
        return ""
    return str(text)


def check_sides(size: tuple[int, int], name: str) -> None:
    """Refuse an image that is too small or too narrow.

    Args:
        size: Height and width in pixels.
        name: Name of the image in the message.

    Raises:
        BadImage: a side is below 16 px, or one side is more than 16 times the other.
    """
    height, width = size
    if min(size) < MIN_SIDE:
        raise BadImage(
            f"{name} is {width}x{height} px; use one whose shorter side is at least {MIN_SIDE} px."
        )
    if max(size) > MAX_ASPECT * min(size):
        raise BadImage(
            f"{name} is {width}x{height} px; use one whose longer side is at most {MAX_ASPECT} "
            "times the shorter one."
        )


def check_format(size: tuple[int, int], image_format: str, name: str) -> None:
    """Refuse an image whose result would be too large for its file format.

    Args:
        size: Height and width in pixels.
        image_format: `png`, `webp` or `jpg`.
        name: Name of the image in the message.

    Raises:
        BadImage: a side is longer than the format allows.
    """
    height, width = size
    if max(size) <= _MOST_SIDE[image_format]:
        return
    fitting = " or ".join(name for name, most in _MOST_SIDE.items() if max(size) <= most)
    raise BadImage(
        f"{name} is {width}x{height} px, and {image_format} holds at most "
        f"{_MOST_SIDE[image_format]} px a side; choose {fitting} as the format of the results, or "
        "make the picture smaller."
    )


def resize(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (B, C, H, W) in [0, 1] to (h, w) by antialiased bicubic interpolation."""
    if pixels.shape[-2:] == size:
        return pixels
    return F.interpolate(pixels, size, mode="bicubic", antialias=True).clamp(0, 1)


def to_short_side(pixels: Tensor, side: int) -> Tensor:
    """Resize (B, 3, H, W) in [0, 1] to a shorter side of `side` pixels; the aspect stays."""
    scale = side / min(pixels.shape[-2:])
    height, width = (round(length * scale) for length in pixels.shape[-2:])
    return resize(pixels, (height, width))


def to_bytes(pixels: Tensor) -> Tensor:
    """Convert the first picture of (B, C, H, W) in [0, 1] to (C, H, W) uint8 on the CPU."""
    return (pixels[0].clamp(0, 1) * 255).round().to(torch.uint8).cpu()


def _over_white(picture: Picture) -> Tensor:
    """Clamp the pixels (1, 3, H, W) to what alpha over white can show."""
    if picture.alpha is None:
        return picture.pixels
    return torch.maximum(picture.pixels, 1 - picture.alpha)


def _to_image(picture: Picture) -> Image.Image:
    """Return 8-bit RGB, or RGBA that gives the picture's pixels when composited over white."""
    pixels = _over_white(picture)
    if picture.alpha is None:
        return Image.fromarray(to_bytes(pixels).permute(1, 2, 0).numpy())
    white = torch.ones_like(pixels)
    lent = (pixels - (1 - picture.alpha)) / picture.alpha.clamp(min=1e-6)
    colors = torch.where(picture.alpha > 0, lent, white)
    rgba = torch.cat([to_bytes(colors), to_bytes(picture.alpha)])
    return Image.fromarray(rgba.permute(1, 2, 0).numpy())


def _to_float(image: Image.Image) -> Tensor:
    """Return (1, C, H, W) in [0, 1]; gray of mode F, already in that range, gets three channels."""
    if image.mode == "F":
        array = np.array(image)
        return torch.from_numpy(array).expand(1, 3, *array.shape).contiguous()
    bands = image.getbands()
    planes = np.empty((1, len(bands), image.height, image.width), np.float32)
    for place, band in enumerate(
        bands
    ):  # one at a time: all bands as floats twice would take gigabytes
        plane = np.asarray(image.getchannel(band))
        np.divide(plane, np.float32(255), out=planes[0, place])
    return torch.from_numpy(planes)
