"""Find the color space of an image file (ICC profile, CICP, gAMA, EXIF) and convert it to sRGB."""

import io
from functools import cache
from typing import Final

import numpy as np
from PIL import ExifTags, Image, ImageCms

from stylegallery.errors import BadImage
from stylegallery.images.headers import Cicp
from stylegallery.images.icc import ColorSpace, ToneCurve, gray_profile, rgb_profile

SRGB_CURVE: Final = ToneCurve(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_BT709_CURVE = ToneCurve(1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
_D65 = (0.3127, 0.3290)
_C = (0.310, 0.316)
_PRIMARIES: Final = {
    1: ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), _D65),  # BT.709, sRGB
    4: ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), _C),
    5: ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), _D65),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    8: ((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), _C),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),  # BT.2020
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),  # DCI-P3
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),  # Display P3
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), _D65),
}
"""Red, green, blue and white of the code points in ITU-T H.273, table 2."""
_CURVES: Final = {
    1: _BT709_CURVE,
    4: ToneCurve(2.2),
    5: ToneCurve(2.8),
    6: _BT709_CURVE,
    8: ToneCurve(1.0),
    13: SRGB_CURVE,
    14: _BT709_CURVE,
    15: _BT709_CURVE,
}
"""Tone curves of the code points in ITU-T H.273, table 3."""
_HDR: Final = {16: "PQ", 18: "HLG"}
SRGB: Final = ColorSpace(*_PRIMARIES[1], SRGB_CURVE)
_ADOBE_RGB: Final = ColorSpace((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), _D65, ToneCurve(563 / 256))
_SRGB_GAMMA = 1 / 2.2
_LEAST_GAMMA = 0.05
_TOLERANCE = 0.002  # of chromaticities
_SRGB_TAG, _ADOBE_TAG = 1, 2
_INTEROP_INDEX = 1
_ICC_COLORS, _ICC_DATE = slice(16, 20), slice(24, 36)

Space = bytes | ColorSpace
"""A file's own ICC profile, or a color space that it describes in another way."""


def space_of(image: Image.Image, name: str) -> Space:
    """Return the color space of a newly opened image; sRGB if the file names none.

    The order of precedence is that of the PNG specification, third edition, section 4.3: cICP, ICC
    profile, sRGB, gAMA with cHRM. In AVIF the ICC profile precedes the code points. Last, EXIF may
    name Adobe RGB (DCF 2.0, option files).

    Raises:
        BadImage: the image has a high dynamic range, or its colors are in video range.
    """
    cicp, profile = image.info.get("cicp"), image.info.get("icc_profile")
    if cicp and not (profile and image.format == "AVIF") and (named := _by_cicp(cicp, image, name)):
        return named
    if isinstance(profile, bytes) and profile:
        return profile
    if "srgb" in image.info:
        return SRGB
    if image.format == "PNG" and (measured := _by_numbers(image)):
        return measured
    return _ADOBE_RGB if _is_adobe_rgb(image) else SRGB


def to_srgb(image: Image.Image, space: Space) -> Image.Image | None:
    """Convert an image to sRGB, mode RGB; None if its values are to be taken as sRGB unchanged.

    That is so if they are sRGB already, or if the profile is broken or of another mode.

    Args:
        image: An image of mode L, RGB, CMYK or I;16.
        space: Result of :func:`space_of`.
    """
    if space in (SRGB, srgb_profile()):  # a conversion would only round
        return None
    try:
        profile = _profile_of(space, image.mode)
        if profile[_ICC_COLORS] == b"GRAY" and image.mode == "RGB" and _is_gray(image):
            image = image.getchannel("R")  # Pillow opens some gray files as RGB
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(image, source, _srgb(), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None


def lab_to_srgb(image: Image.Image) -> Image.Image:
    """Convert an image of mode LAB to sRGB, mode RGB."""
    lab = ImageCms.createProfile("LAB")
    made = ImageCms.profileToProfile(image, lab, _srgb(), outputMode="RGB")
    assert made is not None  # None is returned only for conversions in place
    return made


@cache
def srgb_profile() -> bytes:
    """Return the sRGB profile of written files; its date is fixed, so that bytes repeat."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[_ICC_DATE] = bytes(_ICC_DATE.stop - _ICC_DATE.start)
    profile[_ICC_DATE.start : _ICC_DATE.start + 6] = (2000).to_bytes(2) + b"\0\1\0\1"
    return bytes(profile)


def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _is_gray(image: Image.Image) -> bool:
    red, green, blue = (np.asarray(band) for band in image.split())
    return np.array_equal(red, green) and np.array_equal(red, blue)


def _profile_of(space: Space, mode: str) -> bytes:
    """Return the ICC profile of a color space for an image's mode.

    Raises:
        ValueError: the color space does not fit the mode.
    """
    if isinstance(space, bytes):
        return space
    if mode == "CMYK":
        raise ValueError("primaries do not describe CMYK")
    return rgb_profile(space) if mode == "RGB" else gray_profile(space.curve)


def _by_cicp(cicp: Cicp, image: Image.Image, name: str) -> ColorSpace | None:
    """Return the color space of code points, or None if they do not specify one."""
    if cicp.transfer in _HDR:
        raise BadImage(
            f"{name} has a high dynamic range ({_HDR[cicp.transfer]}); export it with a standard "
            "range, in sRGB or Display P3."
        )
    primaries, curve = _PRIMARIES.get(cicp.primaries), _CURVES.get(cicp.transfer)
    if primaries is None or curve is None:
        return None
    if not cicp.full_range:
        raise BadImage(
            f"{name} has colors in video range (16 to 235); export it in full range, as sRGB."
        )
    if image.format == "AVIF" and cicp.primaries == 1 and curve == _BT709_CURVE:
        return SRGB  # as browsers do: video encoders label sRGB pictures as BT.709
    return ColorSpace(*primaries, curve)


def _by_numbers(image: Image.Image) -> ColorSpace | None:
    """Return the color space of the PNG chunks gAMA and cHRM, or None if there are none."""
    gamma, points = image.info.get("gamma", 0), image.info.get("chromaticity")
    if not _LEAST_GAMMA < gamma < 1 / _LEAST_GAMMA:
        gamma = 0  # not plausible for a picture
    primaries = _PRIMARIES[1]
    if points:
        white, red, green, blue = zip(points[::2], points[1::2], strict=True)
        primaries = (red, green, blue, white)
    usual = all(
        abs(x - y) < _TOLERANCE
        for mine, theirs in zip(primaries, _PRIMARIES[1], strict=True)
        for x, y in zip(mine, theirs, strict=True)
    )
    if usual and (not gamma or abs(gamma - _SRGB_GAMMA) < 0.01):
        return (
            SRGB if gamma or points else None
        )  # the PNG specification recommends these values for sRGB
    return ColorSpace(*primaries, ToneCurve(1 / gamma) if gamma else SRGB_CURVE)


def _is_adobe_rgb(image: Image.Image) -> bool:
    """Whether EXIF names Adobe RGB, as it does for cameras that write no ICC profile."""
    try:
        exif = image.getexif()
        colors = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.ColorSpace)
        index = exif.get_ifd(ExifTags.IFD.Interop).get(_INTEROP_INDEX)
    except MemoryError:
        raise
    except Exception:  # EXIF parsers raise any exception on broken data
        return False
    if isinstance(index, bytes):
        index = index.decode("ascii", "replace")
    named = str(index).strip("\0 ") == "R03" and colors != _SRGB_TAG
    return named or colors == _ADOBE_TAG  # some cameras write this, against the standard
