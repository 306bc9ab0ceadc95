"""Normalize gray images of more than 8 bits, whose files do not always say which value is white."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from stylegallery.errors import BadImage

DEEP_MODES: Final = ("I;16", "I;16B", "I;16L", "I", "F")
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
_UNSIGNED, _WHITE_IS_ZERO = 1, 0
_TOLERANCE = 0.1  # of white: how far values may lie outside the range
_DARKEST = 0.1  # of white: an image of darker values has another white


def deep_gray(
    image: Image.Image, name: str, *, missing: float | None = None
) -> NDArray[np.float32]:
    """Return gray of more than 8 bits as (H, W) in [0, 1].

    The white of 16-bit gray is the largest 16-bit value. 32-bit values have no fixed white: it is
    1, 255 or the largest value of 16 or 32 bits, whichever is near the image's largest value.

    Args:
        image: A loaded image of one of DEEP_MODES.
        name: Name of the image in messages.
        missing: Replaces values that are not finite; None refuses them.

    Raises:
        BadImage: values are not finite, or the white cannot be told from them.
    """
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    bits = tags.get(_BITS, (16 if image.mode.startswith("I;16") else 32,))[0]
    unsigned = tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))[0] == _UNSIGNED
    stored = np.asarray(image)
    if image.mode == "I" and unsigned:
        stored = stored.view(np.uint32)
    values = stored.astype(np.float32)
    if missing is not None:
        values = np.nan_to_num(values, nan=missing, posinf=missing, neginf=missing)
    if not np.isfinite(values).all():
        raise BadImage(f"{name} holds values that are not finite; export it again.")
    white = _white(float(values.min()), float(values.max()), image.mode, bits, name, unsigned)
    gray = (values / np.float32(white)).clip(0, 1)
    return 1 - gray if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else gray


def _white(low: float, high: float, mode: str, bits: int, name: str, unsigned: bool) -> float:
    if mode.startswith("I;16"):
        white = float((1 << bits) - 1)
        if not 0 < high <= white / 256:
            return white
        raise BadImage(
            f"{name} has {bits} bits a pixel but no value above {high:.0f} of {white:.0f}, so it "
            "would be black; save it with 8 bits, or stretch it to the full range."
        )
    for white in _whites(mode, bits, unsigned):
        dark = high < _DARKEST * white and white > 1
        if not dark and -_TOLERANCE * white <= low and high <= (1 + _TOLERANCE) * white:
            return white
    raise BadImage(
        f"{name} holds {bits}-bit values from {low:.4g} to {high:.4g}, which do not tell what is "
        "black and what is white; save it with 8 or 16 bits a channel."
    )


def _whites(mode: str, bits: int, unsigned: bool) -> tuple[float, ...]:
    """Return the values that may be white, smallest first."""
    if mode == "F":
        return 1.0, 255.0, 65535.0
    largest = 2.0 ** (bits if unsigned else bits - 1) - 1
    return (1.0, 255.0, largest) if bits == 16 else (1.0, 255.0, 65535.0, largest)
