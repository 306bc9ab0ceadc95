"""Label images and protection masks become tensors, or are refused in a sentence."""

import numpy as np
import pytest
from PIL import Image

from stylegallery.errors import BadMask
from stylegallery.regions import label_images
from tests.stylegallery.images.color_files import gradient, saved


def test_label_images() -> None:
    image = Image.new("RGB", (20, 20))
    image.paste((255, 0, 0), (0, 0, 5, 20))
    image.paste((0, 0, 255), (10, 0, 20, 20))
    labels = label_images.decode_labels(saved(image, "PNG"), "m")
    assert labels[0].tolist() == [1] * 5 + [0] * 5 + [2] * 10
    with pytest.raises(BadMask, match="at most 224"):
        label_images.decode_labels(saved(gradient(64, 64), "PNG"), "m")
    with pytest.raises(BadMask, match="cannot be used"):
        label_images.decode_labels(b"junk", "m")


def test_deep_masks_keep_their_range() -> None:
    deep = Image.fromarray(np.linspace(0, 65535, 32 * 32).astype(np.uint16).reshape(32, 32))
    gray = label_images.decode_protection(saved(deep, "PNG"), "m")
    assert abs(float(gray.mean()) - 0.5) < 0.01
    not_a_number = Image.fromarray(np.full((32, 32), np.nan, np.float32))
    assert label_images.decode_protection(saved(not_a_number, "TIFF"), "m").max() == 0


def test_gray_masks() -> None:
    gray = label_images.decode_protection(saved(Image.new("L", (20, 30), 128), "PNG"), "m")
    assert gray.shape == (1, 1, 30, 20)
    assert abs(float(gray.mean()) - 128 / 255) < 1e-6
