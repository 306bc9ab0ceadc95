"""References that show nothing: transparent, black, white or of one colour."""

import math

from torch import Tensor

from stylegallery.images.picture import Picture

_MOST = 0.995
_DARK, _NOISE = 10 / 255, 3 / 255
_VISIBLE = 0.02
_SAMPLED = 250_000
_CLEAR = "fully transparent"


def blankness(picture: Picture) -> str:
    """Say how blank a picture is, such as "nearly white"; empty text when it shows something."""
    what = _what(picture)
    if what and picture.alpha is not None and what != _CLEAR:
        return f"{what} (its transparent parts count as white)"
    return what


def blank_warning(name: str, what: str) -> str:
    """Return a sentence on a blank reference; a plain colour may be meant, so people decide.

    Args:
        name: What to call the reference.
        what: From :func:`blankness`.
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
    return "of one colour" if _nearly_all(((pixels - usual).abs() <= _NOISE).all(dim=0)) else ""


def _nearly_all(true: Tensor) -> bool:
    return bool(true.float().mean() >= _MOST)
