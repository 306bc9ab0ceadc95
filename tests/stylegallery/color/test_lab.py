"""CIE Lab conversion agrees with scikit-image and stays in the gamut."""

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab

from stylegallery.color.lab import keep_chroma, lab_to_rgb, rgb_to_lab


def colors(seed: int = 0, size: int = 40) -> torch.Tensor:
    return torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(seed))


def test_lab_is_that_of_the_textbook() -> None:
    pixels = colors()
    expected = rgb2lab(pixels[0].permute(1, 2, 0).numpy())
    assert np.abs(rgb_to_lab(pixels)[0].permute(1, 2, 0).numpy() - expected).max() < 0.02
    assert (lab_to_rgb(rgb_to_lab(pixels)) - pixels).abs().max() < 1e-4


def test_keep_chroma_takes_lightness_alone() -> None:
    restyled, content = colors(1), colors(2)
    kept = keep_chroma(restyled, content)
    lightness = rgb_to_lab(restyled)[:, 0]
    assert (rgb_to_lab(kept)[:, 0] - lightness).abs().max() < 0.1
    (a, b), (wanted_a, wanted_b) = rgb_to_lab(kept)[0, 1:], rgb_to_lab(content)[0, 1:]
    chroma, wanted = torch.hypot(a, b), torch.hypot(wanted_a, wanted_b)
    assert (chroma <= wanted + 0.1).all()
    turned = torch.atan2(a * wanted_b - b * wanted_a, a * wanted_a + b * wanted_b)
    assert turned[chroma > 2].abs().max() < 0.02
    assert (keep_chroma(content, content) - content).abs().max() < 1e-3


@pytest.mark.parametrize("lightness", [0.0, 100.0])
def test_black_and_white_have_no_chroma(lightness: float) -> None:
    lab = torch.tensor([lightness, 80.0, -60.0]).view(1, 3, 1, 1)
    assert (lab_to_rgb(lab) - lightness / 100).abs().max() < 1e-3
