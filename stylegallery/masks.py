"""Label and protection images: the user's masks in, region maps out."""

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stylegallery.errors import BadImage, BadMask
from stylegallery.opening import DEEP_MODES, check_still, damage_named, open_image
from stylegallery.regions import RegionMap
from stylegallery.visualize import region_labels_image

MAX_LABELS = 224
"""With the 32 regions that the engine finds at most, a region map still fits into bytes."""


def decode_labels(data: bytes, name: str) -> Tensor:
    """Decode a label image: every colour one label, black (or transparent) free.

    Returns:
        (H, W) int64; 0 is free, labels count from 1 in order of first appearance.

    Raises:
        BadMask: not a readable image, or more than 224 colours.
    """
    rgb = np.asarray(_open_mask(data, name, "RGB"), dtype=np.int64)
    codes = (rgb[..., 0] << 16) + (rgb[..., 1] << 8) + rgb[..., 2]
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
    """Decode a grey image to (1, 1, H, W) float32 in [0, 1].

    Raises:
        BadMask: not a readable image.
    """
    grey = np.asarray(_open_mask(data, name, "L"), dtype=np.float32) / 255.0
    return torch.from_numpy(grey)[None, None]


def encode_labels(regions: RegionMap) -> bytes:
    """Encode a region map as an indexed PNG on its own grid, with one colour a region."""
    out = io.BytesIO()
    region_labels_image(regions).save(out, "PNG", compress_level=9)
    return out.getvalue()


def _open_mask(data: bytes, name: str, mode: str) -> Image.Image:
    try:
        image = open_image(data, name)
        check_still(image, name)
        with damage_named(name):
            return _flat(image).convert(mode)
    except BadImage as error:
        raise BadMask(f"the label or protection image cannot be used: {error}") from error


def _flat(image: Image.Image) -> Image.Image:
    """Return an image without transparency and of 8 bits: clear is black, deep grey is scaled."""
    if image.mode in DEEP_MODES:
        grey = np.asarray(image, dtype=np.float32) / DEEP_MODES[image.mode]
        return Image.fromarray((np.nan_to_num(grey).clip(0, 1) * 255).round().astype(np.uint8))
    image.load()
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.new("RGB", rgba.size)
        image.paste(rgba, mask=rgba.getchannel("A").point(lambda v: 255 if v else 0))
    return image
