"""Decode label images and protection masks, which users draw."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from stylegallery.errors import BadImage, BadMask
from stylegallery.images.deep_gray import DEEP_MODES
from stylegallery.images.opening import check_still, open_image
from stylegallery.images.reading import Planes, as_bad_image, read_values, to_eight_bit, upright

MAX_LABELS = 224
"""Together with at most 32 automatic regions, a region map fits into 8 bits."""


def decode_labels(data: bytes, name: str) -> Tensor:
    """Decode a label image: each color is a label; black or transparent pixels are free.

    Returns:
        (H, W) int64; 0 is free, and labels count from 1 in order of first appearance.

    Raises:
        BadMask: the image cannot be read or has more than 224 colors.
    """
    with _open_mask(data, name) as image:
        codes = _codes(image, name)
    values, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    order = [i for i in np.argsort(first) if values[i] != 0]
    if len(order) > MAX_LABELS:
        raise BadMask(
            f"{name} has {len(order)} colors; a label image holds at most {MAX_LABELS} (save it "
            "without smoothing, as PNG)."
        )
    number = np.zeros(len(values), dtype=np.int64)
    number[order] = np.arange(1, len(order) + 1)
    return torch.from_numpy(number[inverse].reshape(codes.shape))


def decode_protection(data: bytes, name: str) -> Tensor:
    """Decode a protection mask to (1, 1, H, W) float32 in [0, 1]; transparent pixels are 0.

    Raises:
        BadMask: the image cannot be read, or its white cannot be told.
    """
    with _open_mask(data, name) as image:
        planes = read_values(image, name, missing=0.0)
    gray = planes.color
    eight_bit = to_eight_bit(gray) if gray.mode == "F" else gray.convert("L")
    values = np.asarray(eight_bit, dtype=np.float32) / 255.0
    if planes.alpha is not None:
        values = np.where(np.asarray(planes.alpha), values, np.float32(0))
    return torch.from_numpy(values)[None, None]


@contextmanager
def _open_mask(data: bytes, name: str) -> Iterator[Image.Image]:
    """Open a mask; raise what is wrong with it, here or in the block, as BadMask."""
    try:
        image = open_image(data, name)
        check_still(image, name)
        yield image
    except BadImage as error:
        raise BadMask(f"the label or protection image cannot be used: {error}") from error


def _codes(image: Image.Image, name: str) -> NDArray[np.generic]:
    """Return (H, W) numbers, one per color; transparent and black pixels are 0."""
    if image.mode in DEEP_MODES:  # each stored value is a label, however small
        with as_bad_image(name):
            stored = np.nan_to_num(np.asarray(upright(image, Planes(image)).color))
        return np.where(stored == image.info.get("transparency"), 0, stored)
    planes = read_values(image, name)
    rgb = np.asarray(planes.color.convert("RGB"), dtype=np.int64)
    codes = (rgb[..., 0] << 16) + (rgb[..., 1] << 8) + rgb[..., 2]
    return codes if planes.alpha is None else np.where(np.asarray(planes.alpha), codes, 0)
