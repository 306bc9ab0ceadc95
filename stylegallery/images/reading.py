"""Read an opened image upright, in sRGB (pictures) or as stored (masks), with its transparency."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image

from schemas.text import one_line
from stylegallery.errors import BadImage
from stylegallery.images.color_spaces import Space, lab_to_srgb, space_of, to_srgb
from stylegallery.images.deep_gray import DEEP_MODES, deep_gray

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Transposition that makes an image upright, by EXIF orientation."""


@dataclass(frozen=True)
class Planes:
    """The color and alpha planes of an image.

    Attributes:
        color: An image of mode L, RGB, CMYK or LAB, or F in [0, 1] for gray of more than 8 bits.
        alpha: An image of mode L, or None if the image is opaque.
    """

    color: Image.Image
    alpha: Image.Image | None = None


def read_srgb(image: Image.Image, name: str, *, side: int = 0) -> Planes:
    """Return an opened image upright and in sRGB: mode RGB, or F for gray of more than 8 bits.

    Args:
        image: Result of :func:`stylegallery.images.opening.open_image`.
        name: Name of the image in messages.
        side: Shrinks a larger image to this longer side, in pixels; 0 keeps the size.

    Raises:
        BadImage: the image is damaged, or its color space is unknown.
    """
    with as_bad_image(name):
        if side:
            draft_size(image, side)
        image.load()  # in PNG, EXIF may follow the pixels
        space = space_of(image, name)
        planes = _split(image, name)
        if side:
            planes = _shrink(planes, side)
        return upright(image, Planes(_to_srgb(planes.color, space), planes.alpha))


def read_values(image: Image.Image, name: str, *, missing: float | None = None) -> Planes:
    """Return an opened image upright, with its values as stored: for masks, which have no colors.

    Args:
        image: Result of :func:`stylegallery.images.opening.open_image`.
        name: Name of the image in messages.
        missing: Replaces values that are not finite; None refuses them.

    Raises:
        BadImage: the image is damaged, or its white cannot be told.
    """
    with as_bad_image(name):
        return upright(image, _split(image, name, missing=missing))


def upright(image: Image.Image, planes: Planes) -> Planes:
    """Rotate the planes of an image by its EXIF orientation; broken EXIF is ignored."""
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except MemoryError:
        raise
    except Exception:  # EXIF parsers raise any exception on broken data
        turn = None
    if turn is None:
        return planes
    alpha = planes.alpha and planes.alpha.transpose(turn)
    return Planes(planes.color.transpose(turn), alpha)


def draft_size(image: Image.Image, side: int) -> None:
    """Let a large JPEG decode at a reduced size, if it is to be shrunk to a longer side `side`."""
    image.draft("RGB", (side * 2, side * 2))


def to_eight_bit(gray: Image.Image) -> Image.Image:
    """Return gray of mode F in [0, 1] as mode L."""
    return Image.fromarray((np.asarray(gray) * 255).round().clip(0, 255).astype(np.uint8))


@contextmanager
def as_bad_image(name: str) -> Iterator[None]:
    """Raise any exception of a decoder as BadImage.

    Raises:
        BadImage: the block raised an exception other than MemoryError.
    """
    try:
        yield
    except (BadImage, MemoryError):
        raise
    except Exception as error:  # decoders raise any exception on broken data
        reason = one_line(str(error), 120) or "its data are invalid"
        raise BadImage(f"{name} is damaged or cut short ({reason}); export it again.") from error


def _split(image: Image.Image, name: str, *, missing: float | None = None) -> Planes:
    """Split an image, as stored in its file, into color and alpha."""
    image.load()
    clear = image.info.get("transparency")
    if image.mode in DEEP_MODES:
        alpha = None
        if isinstance(clear, int):
            alpha = Image.fromarray(np.where(np.asarray(image) == clear, 0, 255).astype(np.uint8))
        return Planes(Image.fromarray(deep_gray(image, name, missing=missing)), alpha)
    if image.mode in ("LA", "La") or (image.mode in ("1", "L") and clear is not None):
        gray, alpha = image.convert("LA").split()
        return Planes(gray, alpha)
    if image.mode in ("RGBA", "RGBa", "PA") or clear is not None:
        rgba = image.convert("RGBA")
        return Planes(rgba.convert("RGB"), rgba.getchannel("A"))
    if image.mode in ("L", "CMYK", "LAB"):
        return Planes(image)
    return Planes(image.convert("L" if image.mode == "1" else "RGB"))


def _to_srgb(color: Image.Image, space: Space) -> Image.Image:
    if color.mode == "LAB":
        return lab_to_srgb(color)
    if color.mode == "F":
        fine = (np.asarray(color) * 65535).round().astype(np.uint16)
        return to_srgb(Image.fromarray(fine), space) or color
    return to_srgb(color, space) or color.convert("RGB")


def _shrink(planes: Planes, side: int) -> Planes:
    color, alpha = planes.color, planes.alpha
    if color.mode == "LAB":
        color = lab_to_srgb(color)
    if alpha is None:
        color.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
        return Planes(color)
    if color.mode == "F":
        color = to_eight_bit(color)
    whole = Image.merge(
        f"{color.mode}A", (*color.split(), alpha)
    )  # resizing weights colors by alpha
    whole.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    *bands, alpha = whole.split()
    return Planes(Image.merge(color.mode, bands), alpha)
