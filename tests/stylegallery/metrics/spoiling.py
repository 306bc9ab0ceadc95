"""A bundled photo, and ways to spoil it more and more."""

from collections.abc import Callable

import numpy as np
import torch
from skimage import data
from skimage.color import hsv2rgb, rgb2hsv
from skimage.filters import gaussian
from skimage.transform import PiecewiseAffineTransform, warp

from stylegallery.images.codec import resize


def photo() -> torch.Tensor:
    """A cat, (1, 3, 192, 240) in [0, 1]."""
    cat = torch.from_numpy(data.chelsea()).permute(2, 0, 1)[None].float() / 255
    return resize(cat, (192, 240))


def other() -> torch.Tensor:
    """A cup of coffee, (1, 3, 192, 240) in [0, 1]."""
    cup = torch.from_numpy(data.coffee()).permute(2, 0, 1)[None].float() / 255
    return resize(cup, (192, 240))


def _pixels(image: torch.Tensor) -> np.ndarray:
    return image[0].permute(1, 2, 0).numpy()


def _tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float().clamp(0, 1)


def blur(image: torch.Tensor, amount: float) -> torch.Tensor:
    """Smooth over up to 8 pixels."""
    return _tensor(gaussian(_pixels(image), sigma=8 * amount, channel_axis=2))


def noise(image: torch.Tensor, amount: float) -> torch.Tensor:
    """Add up to 0.3 of noise."""
    grain = torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    return (image + 0.3 * amount * grain).clamp(0, 1)


def hue(image: torch.Tensor, amount: float) -> torch.Tensor:
    """Turn hues by up to half a circle."""
    colors = rgb2hsv(_pixels(image))
    colors[..., 0] = (colors[..., 0] + 0.5 * amount) % 1
    return _tensor(hsv2rgb(colors))


def bend(image: torch.Tensor, amount: float) -> torch.Tensor:
    """Shift rows and columns in waves by up to 16 pixels."""
    height, width = image.shape[-2:]
    across, down = np.meshgrid(np.linspace(0, width, 14), np.linspace(0, height, 14))
    here = np.column_stack([across.ravel(), down.ravel()])
    waves = np.column_stack([np.sin(here[:, 1] / 20), np.sin(here[:, 0] / 25)])
    there = here + 16 * amount * waves
    mapping = PiecewiseAffineTransform.from_estimate(here, there)
    return _tensor(warp(_pixels(image), mapping, mode="edge"))


WAYS: dict[str, Callable[[torch.Tensor, float], torch.Tensor]] = {
    "blur": blur,
    "noise": noise,
    "hue": hue,
    "bend": bend,
}
AMOUNTS = (0.15, 0.4, 1.0)
