"""Region maps as PNG files."""

import io

import numpy as np
import torch
from PIL import Image

from stylegallery.regions.region_map import RegionMap
from stylegallery.regions.region_png import encode_region_map


def test_a_region_map_is_an_indexed_png_of_its_labels() -> None:
    labels = torch.arange(12).reshape(3, 4)
    with Image.open(io.BytesIO(encode_region_map(RegionMap(labels)))) as image:
        assert image.mode == "P"
        assert np.array_equal(np.array(image), labels.numpy())
