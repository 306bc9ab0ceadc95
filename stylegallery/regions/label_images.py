"""Label and protection images: the user's masks in, region maps out."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from stylegallery.errors import BadImage, BadMask
from stylegallery.images.opening import check_still, damage_named, open_image
from stylegallery.images.ranges import DEEP_MODES
from stylegallery.images.reading import Planes, read_numbers, to_eight_bit, upright
from stylegallery.palette import (
    region_color,
)
from stylegallery.regions.region_map import RegionMap, _labels

MAX_LABELS = 224
"""With the 32 regions that the engine finds at most, a region map still fits into bytes."""


def decode_labels(data: bytes, name: str) -> Tensor:
    """Decode a label image: every colour one label, black (or transparent) free.

    Returns:
        (H, W) int64; 0 is free, labels count from 1 in order of first appearance.

    Raises:
        BadMask: not a readable image, or more than 224 colours.
    """
    with _opened(data, name) as image:
        codes = _codes(image, name)
    values, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    order = [i for i in np.argsort(first) if values[i] != 0]
    if len(order) > MAX_LABELS:
        raise BadMask(
            f"{name} has {len(order)} colours; a label image holds at most {MAX_LABELS} (save it "
            "without smoothing, as PNG)."
        )
    number = np.zeros(len(values), dtype=np.int64)
    number[order] = np.arange(1, len(order) + 1)
    return torch.from_numpy(number[inverse].reshape(codes.shape))


def decode_grey(data: bytes, name: str) -> Tensor:
    """Decode a grey image to (1, 1, H, W) float32 in [0, 1]; what is clear is 0.

    Raises:
        BadMask: not a readable image, or its numbers do not tell what is white.
    """
    with _opened(data, name) as image:
        planes = read_numbers(image, name, missing=0.0)
    grey = planes.colour
    eight_bit = to_eight_bit(grey) if grey.mode == "F" else grey.convert("L")
    values = np.asarray(eight_bit, dtype=np.float32) / 255.0
    if planes.alpha is not None:
        values = np.where(np.asarray(planes.alpha), values, np.float32(0))
    return torch.from_numpy(values)[None, None]


def encode_labels(regions: RegionMap) -> bytes:
    """Encode a region map as an indexed PNG on its own grid, with one colour a region."""
    out = io.BytesIO()
    region_labels_image(regions).save(out, "PNG", compress_level=9)
    return out.getvalue()


@contextmanager
def _opened(data: bytes, name: str) -> Iterator[Image.Image]:
    """Open a mask, and say of what is wrong with it that it is the mask's."""
    try:
        image = open_image(data, name)
        check_still(image, name)
        yield image
    except BadImage as error:
        raise BadMask(f"the label or protection image cannot be used: {error}") from error


def _codes(image: Image.Image, name: str) -> NDArray[np.generic]:
    """Return (H, W) numbers, equal where the colours are; clear and black are 0."""
    if image.mode in DEEP_MODES:  # each number is a label, however small it is
        with damage_named(name):
            stored = np.nan_to_num(np.asarray(upright(image, Planes(image)).colour))
        return np.where(stored == image.info.get("transparency"), 0, stored)
    planes = read_numbers(image, name)
    rgb = np.asarray(planes.colour.convert("RGB"), dtype=np.int64)
    codes = (rgb[..., 0] << 16) + (rgb[..., 1] << 8) + rgb[..., 2]
    return codes if planes.alpha is None else np.where(np.asarray(planes.alpha), codes, 0)


def region_labels_image(regions: RegionMap) -> Image.Image:
    """Return a region map as an indexed image ("P") on its own grid, whose values are the labels.

    Its colours all differ and none is black, so that it also reads as a label image.

    Raises:
        ValueError: there are more than 256 regions.
    """
    if regions.count > 256:
        raise ValueError(f"an indexed image holds 256 regions, not {regions.count}; fix fewer")
    image = Image.fromarray(_labels(regions))
    image.putpalette([value for index in range(256) for value in region_color(index)])
    return image
