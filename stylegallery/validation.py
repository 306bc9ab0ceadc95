"""Validate the engine's inputs before any computation."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from schemas.methods import LearntFrom, Method, method_info
from schemas.text import counted
from stylegallery.errors import BadImage, BadMask, BadReferences, BadRouting
from stylegallery.images.codec import check_sides
from stylegallery.images.picture import Picture
from stylegallery.matching.correspondence import Correspondence
from stylegallery.types import PreparedImage

_OVERSHOOT = 0.01


def check_picture(picture: Picture) -> None:
    """Refuse a picture that the user built with invalid tensors.

    Raises:
        BadImage: shape, values or sides are invalid.
    """
    pixels, alpha = picture.pixels, picture.alpha
    if pixels.ndim != 4 or tuple(pixels.shape[:2]) != (1, 3):
        raise BadImage(
            f"the picture's pixels have the shape {tuple(pixels.shape)}; give one RGB image as "
            "(1, 3, height, width), and its transparency in Picture.alpha."
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
    """Refuse an empty gallery, or weights that do not match it.

    Args:
        styles: Number of references.
        weights: Weight of each, or None.

    Raises:
        BadReferences: there is no reference, or not one positive weight for each.
    """
    if not styles:
        raise BadReferences("there is no reference; give at least one reference image.")
    if weights is None:
        return
    if len(weights) != styles:
        raise BadReferences(
            f"the number of weights ({len(weights)}) is not that of the references ({styles}); "
            "give one weight for each, or no weights."
        )
    for place, weight in enumerate(weights):
        if not 0 < weight < math.inf:  # refuses NaN too
            raise BadReferences(
                f"the weight of reference {place} (from 0) is {weight}; give a number above 0, or "
                "leave the reference out."
            )


def check_adapters(adapters: int, styles: int, learns: LearntFrom) -> None:
    """Refuse another number of learnt styles than the method uses.

    Args:
        adapters: Number of learnt styles; 0 lets the engine learn them.
        styles: Number of references.
        learns: What the method learns from.

    Raises:
        BadReferences: the numbers do not fit.
    """
    needed = styles if learns == "reference" else 1
    if adapters not in (0, needed):
        what = "one for each reference" if learns == "reference" else "one for all references"
        raise BadReferences(
            f"the method needs {counted(needed, 'learnt style')}, {what}, not {adapters}; give as "
            "many, or none to learn them here."
        )


def check_learning(styles: int, design: Picture | None, method: Method) -> None:
    """Refuse references or a design from which a method does not learn.

    Args:
        styles: Number of references.
        design: The user's design, or None.
        method: The method.

    Raises:
        BadReferences: the method learns each reference by itself, or uses no design.
    """
    if method_info(method).learns == "reference" and styles > 1:
        raise BadReferences(
            f"method {method} learns each reference by itself, but {styles} are given; learn them "
            "one after the other."
        )
    if design is not None and method != "contrastive-lora":
        raise BadReferences(
            f"a design is given, which method {method} does not use; leave it out, or set method "
            "to contrastive-lora."
        )


def check_routing(
    routing: Correspondence, content: PreparedImage, styles: Sequence[PreparedImage]
) -> None:
    """Refuse a routing whose numbers of regions differ from those of the images.

    Raises:
        BadRouting: content or a reference has another number of regions.
    """
    made_for, given = len(routing.best), content.regions.count
    if made_for != given:
        raise BadRouting(
            f"the routing was made for a content of {made_for} regions, but this one has {given}; "
            "match these images again."
        )
    counts = tuple(style.regions.count for style in styles)
    if routing.style_regions != counts:
        raise BadRouting(
            f"the routing was made for references of {_listed(routing.style_regions)} regions, "
            f"but those given have {_listed(counts)}; give the same references in the same order, "
            "or match again."
        )


def _check_numbers(values: Tensor, what: str) -> None:
    """Refuse values other than float32 in [0, 1]; overshoot up to 0.01 from resizing is allowed."""
    if values.dtype != torch.float32:
        raise BadImage(
            f"the picture's {what} are {values.dtype}; give torch.float32 in [0, 1], such as bytes "
            "divided by 255."
        )
    low, high = (float(bound) for bound in values.aminmax())
    if not -_OVERSHOOT <= low <= high <= 1 + _OVERSHOOT:  # refuses NaN too
        raise BadImage(
            f"the picture's {what} run from {low:.4g} to {high:.4g}; give finite numbers in [0, 1]."
        )


def _listed(counts: Sequence[int]) -> str:
    return ", ".join(map(str, counts)) or "no"


def check_protection(protect: Tensor, original: Picture) -> None:
    """Refuse a protection image (1, 1, H, W) that does not fit the original.

    Raises:
        BadMask: the sizes differ.
    """
    if tuple(protect.shape[-2:]) != original.size:
        raise BadMask(
            f"the protection image is {protect.shape[-1]}x{protect.shape[-2]} px, but the photo "
            f"is {original.size[1]}x{original.size[0]} px; make them the same size."
        )
