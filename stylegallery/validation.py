"""What the engine is handed: refused before the work, with a sentence, when it cannot be used."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from stylegallery.errors import BadImage, BadReferences, BadRouting
from stylegallery.matching.correspondence import Correspondence
from stylegallery.types import Picture, PreparedImage

MIN_SIDE = 16
MAX_ASPECT = 16  # encoder and latent keep the aspect: a thread of pixels would fill the memory
_HAIR = 0.01
_MOST_SIDE = {"png": math.inf, "webp": 16_383, "jpg": 65_500}
"""Longest side in pixels that the encoders write; JPEG files might hold 35 more."""


def check_sides(size: tuple[int, int], name: str) -> None:
    """Refuse an image whose (height, width) in pixels is too small or too narrow.

    Args:
        size: Height and width.
        name: What to call the image in the message.

    Raises:
        BadImage: a side is below 16 px, or one is more than 16 times the other.
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
    """Refuse an image whose result would not fit into its file format.

    Args:
        size: Height and width in pixels.
        image_format: `png`, `webp` or `jpg`.
        name: What to call the image in the message.

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


def check_picture(picture: Picture) -> None:
    """Refuse a picture, made by hand, that is not like those that are decoded from files.

    Raises:
        BadImage: its shape, its numbers or its sides cannot be used.
    """
    pixels, alpha = picture.pixels, picture.alpha
    if pixels.ndim != 4 or tuple(pixels.shape[:2]) != (1, 3):
        raise BadImage(
            f"the picture's pixels have the shape {tuple(pixels.shape)}; give one RGB image as "
            "(1, 3, height, width), with its transparency apart in Picture.alpha."
        )
    if alpha is not None and tuple(alpha.shape) != (1, 1, *picture.size):
        raise BadImage(
            f"the picture's alpha has the shape {tuple(alpha.shape)}; give "
            f"{(1, 1, *picture.size)}, the size of its pixels."
        )
    check_sides(picture.size, "the picture")
    _check_numbers(pixels, "pixels")
    if alpha is not None:
        _check_numbers(alpha, "alpha")


def check_references(styles: int, weights: Sequence[float] | None) -> None:
    """Refuse a gallery of no references, or weights that do not belong to them.

    Args:
        styles: Number of references.
        weights: Weight of each, or None.

    Raises:
        BadReferences: there is none, or not one positive weight for each.
    """
    if not styles:
        raise BadReferences("there is no reference; give at least one reference image.")
    if weights is None:
        return
    if len(weights) != styles:
        raise BadReferences(
            f"the number of weights is {len(weights)}, that of references {styles}; give one "
            "weight for each, or none at all."
        )
    for place, weight in enumerate(weights):
        if not 0 < weight < math.inf:  # so is NaN refused
            raise BadReferences(
                f"the weight of reference {place} (from 0) is {weight}; give a number above 0, or "
                "leave the reference out."
            )


def check_routing(
    routing: Correspondence, content: PreparedImage, styles: Sequence[PreparedImage]
) -> None:
    """Refuse a routing that was made for other images, as far as the numbers of regions tell.

    Raises:
        BadRouting: its content or a reference has another number of regions than these.
    """
    made_for, given = len(routing.best), content.regions.count
    if made_for != given:
        raise BadRouting(
            f"the routing was made for a content of {made_for} regions, but this one has {given}; "
            "match these images anew."
        )
    counts = tuple(style.regions.count for style in styles)
    if routing.style_regions != counts:
        raise BadRouting(
            f"the routing was made for references of {_listed(routing.style_regions)} regions, "
            f"but those given have {_listed(counts)}; give the same ones in the same order, or "
            "match anew."
        )


def _check_numbers(values: Tensor, what: str) -> None:
    """Refuse what is not float32 in [0, 1]; the hair beyond that resizing may leave is let be."""
    if values.dtype != torch.float32:
        raise BadImage(
            f"the picture's {what} are of {values.dtype}; give torch.float32 in [0, 1], bytes "
            "divided by 255."
        )
    low, high = (float(bound) for bound in values.aminmax())
    if not -_HAIR <= low <= high <= 1 + _HAIR:  # so is NaN refused
        raise BadImage(
            f"the picture's {what} run from {low:.4g} to {high:.4g}; give finite numbers in [0, 1]."
        )


def _listed(counts: Sequence[int]) -> str:
    return ", ".join(map(str, counts)) or "no"
