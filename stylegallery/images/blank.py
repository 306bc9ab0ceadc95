"""Detect blank references: transparent, black, white or of one color."""

import math

from torch import Tensor

from stylegallery.images.picture import Picture

_BLANK_SHARE = 0.995  # of the pixels
_DARK, _NOISE = 10 / 255, 3 / 255
_VISIBLE = 0.02  # alpha
_SAMPLED = 250_000  # pixels, of larger pictures
_CLEAR = "fully transparent"


def blankness(picture: Picture) -> str:
    """Return why a picture is blank, such as "nearly white", or empty text if it is not blank."""
    what = _what(picture)
    if what and picture.alpha is not None and what != _CLEAR:
        return f"{what} (its transparent parts count as white)"
    return what


def blank_warning(name: str, what: str) -> str:
    """Return a warning about a blank reference; it is no error, as a plain color may be intended.

    Args:
        name: Name of the reference in the message.
        what: Result of :func:`blankness`.
    """
    return f"{name} is {what}, so it has hardly any style to give; replace it unless that is meant"


def _what(picture: Picture) -> str:
    step = math.ceil(math.sqrt(max(1, math.prod(picture.size) / _SAMPLED)))
    pixels = picture.pixels[0, :, ::step, ::step]
    if picture.alpha is not None and _nearly_all(picture.alpha[..., ::step, ::step] < _VISIBLE):
        return _CLEAR
    if _nearly_all(pixels.amax(dim=0) <= _DARK):
        return "nearly black"
    if _nearly_all(pixels.amin(dim=0) >= 1 - _DARK):
        return "nearly white"
    usual = pixels.flatten(1).median(dim=1).values[:, None, None]
    return "of one color" if _nearly_all(((pixels - usual).abs() <= _NOISE).all(dim=0)) else ""


def _nearly_all(true: Tensor) -> bool:
    return bool(true.float().mean() >= _BLANK_SHARE)
