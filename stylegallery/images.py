"""Files to pictures and back: what is read and what is written."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import ExifTags, Image, PngImagePlugin
from torch import Tensor
from torch.nn import functional as F

from stylegallery.checks import check_sides
from stylegallery.errors import BadImage
from stylegallery.opening import check_still, open_image
from stylegallery.provenance import xmp_packet
from stylegallery.reading import read_srgb
from stylegallery.spaces import srgb_profile
from stylegallery.types import Picture

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

    EXIF rotation is applied, colours of every profile and mode are converted to sRGB, grey of 16
    and 32 bits keeps its fine steps, transparency is kept apart and laid over white.

    Args:
        data: The file's bytes.
        name: What to call the file in messages.

    Raises:
        BadImage: not an image, cut short, animated, too small, too large or too narrow.
    """
    image = open_image(data, name)
    check_still(image, name)
    check_sides(image.size[::-1], name)
    planes = read_srgb(image, name)
    pixels = _to_float(planes.colour)
    alpha = _to_float(planes.alpha) if planes.alpha else None
    if alpha is not None:
        pixels.mul_(alpha).add_(1 - alpha)
    return Picture(pixels, alpha)


def encode(
    picture: Picture, image_format: str, note: str = "", *, rights: str = "", quality: int = 0
) -> bytes:
    """Encode a picture with the sRGB profile; the same arguments always give the same bytes.

    Args:
        picture: Written in 8 bits; alpha is kept by png and webp, laid over white by jpg. A
            picture that was decoded from 8 bits comes out with the values it had, alpha or not.
        image_format: `png`, `webp` or `jpg`.
        note: ASCII text on how the picture was made, for :func:`read_note`. With a note, the
            file also says in XMP that it was made with AI. jpg has room for 64 kB; a longer note
            is left out.
        rights: Licences and credits, for XMP.
        quality: 1 to 100 for jpg and lossy webp; 0 is a lossless webp and a jpg of 95.
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
    """Return the note that :func:`encode` stored, or empty text when there is none."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "WEBP", "JPEG")) as image:
            text = image.info.get(_NOTE_KEY) or image.getexif().get(
                ExifTags.Base.ImageDescription, ""
            )
    except MemoryError:
        raise
    except Exception:  # parsers of broken files raise whatever they stumble over
        return ""
    return str(text)


def resize(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (B, C, H, W) in [0, 1] to (h, w) by antialiased bicubic interpolation."""
    if pixels.shape[-2:] == size:
        return pixels
    return F.interpolate(pixels, size, mode="bicubic", antialias=True).clamp(0, 1)


def to_short_side(pixels: Tensor, side: int) -> Tensor:
    """Bring pixels (B, 3, H, W) in [0, 1] to a shorter side of `side` pixels, same aspect."""
    scale = side / min(pixels.shape[-2:])
    height, width = (round(length * scale) for length in pixels.shape[-2:])
    return resize(pixels, (height, width))


def _over_white(picture: Picture) -> Tensor:
    """Return the pixels (1, 3, H, W) as they can be seen over white with the picture's alpha."""
    if picture.alpha is None:
        return picture.pixels
    return torch.maximum(picture.pixels, 1 - picture.alpha)


def _to_image(picture: Picture) -> Image.Image:
    """Return 8-bit RGB, or RGBA whose colours give the picture's pixels when laid over white."""
    pixels = _over_white(picture)
    if picture.alpha is None:
        return Image.fromarray(to_bytes(pixels).permute(1, 2, 0).numpy())
    white = torch.ones_like(pixels)
    lent = (pixels - (1 - picture.alpha)) / picture.alpha.clamp(min=1e-6)
    colours = torch.where(picture.alpha > 0, lent, white)
    rgba = torch.cat([to_bytes(colours), to_bytes(picture.alpha)])
    return Image.fromarray(rgba.permute(1, 2, 0).numpy())


def _to_float(image: Image.Image) -> Tensor:
    """Return (1, C, H, W) in [0, 1]; grey of mode F, which is in that range, as three channels."""
    if image.mode == "F":
        array = np.array(image)
        return torch.from_numpy(array).expand(1, 3, *array.shape).contiguous()
    bands = image.getbands()
    planes = np.empty((1, len(bands), image.height, image.width), np.float32)
    for place, band in enumerate(bands):  # one at a time: all as floats, twice, take gigabytes
        plane = np.asarray(image.getchannel(band))
        np.divide(plane, np.float32(255), out=planes[0, place])
    return torch.from_numpy(planes)


def to_bytes(pixels: Tensor) -> Tensor:
    """Return the first of pixels (B, C, H, W) in [0, 1] as (C, H, W) uint8 on the CPU."""
    return (pixels[0].clamp(0, 1) * 255).round().to(torch.uint8).cpu()
