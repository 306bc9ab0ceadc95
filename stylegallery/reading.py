"""One reader for all pictures: any file becomes an upright image in sRGB and its transparency."""

from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image

from stylegallery.opening import damage_named, draft_size
from stylegallery.ranges import DEEP_MODES, deep_grey
from stylegallery.spaces import Space, converted, lab_to_srgb, space_of

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image upright, by EXIF orientation."""


@dataclass(frozen=True)
class Planes:
    """What there is to see in an image.

    Attributes:
        colour: Of mode L, RGB, CMYK or LAB, or F in [0, 1] for grey of more than 8 bits.
        alpha: Of mode L, or None for an opaque image.
    """

    colour: Image.Image
    alpha: Image.Image | None = None


def read_srgb(image: Image.Image, name: str, *, side: int = 0) -> Planes:
    """Return an opened image upright and in sRGB: mode RGB, or F for grey of more than 8 bits.

    Args:
        image: From :func:`stylegallery.opening.open_image`.
        name: What to call it in messages.
        side: Shrink it to this longer side, if it is larger; 0 keeps its size.

    Raises:
        BadImage: it is damaged, or its colours cannot be told.
    """
    with damage_named(name):
        if side:
            draft_size(image, side)
        image.load()  # PNG may name EXIF after the pixels
        space = space_of(image, name)
        planes = _split(image, name)
        if side:
            planes = _shrunk(planes, side)
        return upright(image, Planes(_to_srgb(planes.colour, space), planes.alpha))


def read_numbers(image: Image.Image, name: str, *, missing: float | None = None) -> Planes:
    """Return an opened image upright, its numbers as they are: for masks, which have no colours.

    Args:
        image: From :func:`stylegallery.opening.open_image`.
        name: What to call it in messages.
        missing: What stands in for numbers that are not finite; None refuses them.

    Raises:
        BadImage: it is damaged, or does not tell what is white.
    """
    with damage_named(name):
        return upright(image, _split(image, name, missing=missing))


def _split(image: Image.Image, name: str, *, missing: float | None = None) -> Planes:
    """Return colour and transparency of an image as it lies in its file."""
    image.load()
    clear = image.info.get("transparency")
    if image.mode in DEEP_MODES:
        alpha = None
        if isinstance(clear, int):
            alpha = Image.fromarray(np.where(np.asarray(image) == clear, 0, 255).astype(np.uint8))
        return Planes(Image.fromarray(deep_grey(image, name, missing=missing)), alpha)
    if image.mode in ("LA", "La") or (image.mode in ("1", "L") and clear is not None):
        grey, alpha = image.convert("LA").split()
        return Planes(grey, alpha)
    if image.mode in ("RGBA", "RGBa", "PA") or clear is not None:
        rgba = image.convert("RGBA")
        return Planes(rgba.convert("RGB"), rgba.getchannel("A"))
    if image.mode in ("L", "CMYK", "LAB"):
        return Planes(image)
    return Planes(image.convert("L" if image.mode == "1" else "RGB"))


def _to_srgb(colour: Image.Image, space: Space) -> Image.Image:
    if colour.mode == "LAB":
        return lab_to_srgb(colour)
    if colour.mode == "F":
        fine = (np.asarray(colour) * 65535).round().astype(np.uint16)
        return converted(Image.fromarray(fine), space) or colour
    return converted(colour, space) or colour.convert("RGB")


def _shrunk(planes: Planes, side: int) -> Planes:
    colour, alpha = planes.colour, planes.alpha
    if colour.mode == "LAB":
        colour = lab_to_srgb(colour)
    if alpha is None:
        colour.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
        return Planes(colour)
    if colour.mode == "F":
        colour = to_eight_bit(colour)
    whole = Image.merge(f"{colour.mode}A", (*colour.split(), alpha))  # what is clear lends nothing
    whole.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    *bands, alpha = whole.split()
    return Planes(Image.merge(colour.mode, bands), alpha)


def to_eight_bit(grey: Image.Image) -> Image.Image:
    """Return grey of mode F in [0, 1] as mode L."""
    return Image.fromarray((np.asarray(grey) * 255).round().clip(0, 255).astype(np.uint8))


def upright(image: Image.Image, planes: Planes) -> Planes:
    """Turn planes of an image as its EXIF orientation asks for; broken EXIF asks for nothing."""
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except MemoryError:
        raise
    except Exception:  # parsers of broken files raise whatever they stumble over
        turn = None
    if turn is None:
        return planes
    alpha = planes.alpha and planes.alpha.transpose(turn)
    return Planes(planes.colour.transpose(turn), alpha)
