"""A JPEG that lacks nothing but its end is a picture; one that lacks pixels is not."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from stylegallery.errors import BadImage
from stylegallery.images import codec
from tests.stylegallery.images.color_files import colors, saved

PICTURE = Image.fromarray(np.tile(colors(), (4, 4, 1)))
WAYS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "best": {"quality": 98, "subsampling": 0},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_jpeg_without_its_end_is_a_picture(way: str) -> None:
    data = saved(PICTURE, "JPEG", **WAYS[way])
    whole = codec.decode(data, "x").pixels
    for cut in (1, 2):
        assert torch.equal(codec.decode(data[:-cut], "x").pixels, whole)
    for tail in (b"\0" * 9, b"\r\n"):
        assert torch.equal(codec.decode(data + tail, "x").pixels, whole)
        assert torch.equal(codec.decode(data[:-2] + tail, "x").pixels, whole)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("cut", [8, 30, 200, 0.5])
def test_a_jpeg_without_pixels_is_refused(way: str, cut: float) -> None:
    data = saved(PICTURE, "JPEG", **WAYS[way])
    missing = int(cut * len(data)) if cut < 1 else int(cut)
    with pytest.raises(BadImage, match=r"^shoe\.jpg is damaged or cut short .* export it again"):
        codec.decode(data[:-missing], "shoe.jpg")
