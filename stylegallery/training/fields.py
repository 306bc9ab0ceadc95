"""Scalar fields and random palettes that the procedural patterns are made of."""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float32]


def grid(rng: np.random.Generator, size: int) -> tuple[Array, Array]:
    """Pixel coordinates in a randomly rotated frame.

    Args:
        size: side in pixels.

    Returns:
        ``(u, v)``, each (size, size) float32, in pixels, rotation uniform in [0, pi).
    """
    angle = rng.uniform(0, np.pi) if rng.random() < 0.6 else 0.0
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return c * x + s * y, c * y - s * x


def smooth_noise(rng: np.random.Generator, size: int, cell: float) -> Array:
    """Bicubic value noise with features of about ``cell`` pixels.

    Returns:
        (size, size) float32, mean 0, std 1.
    """
    n = max(2, int(np.ceil(size / cell)) + 1)
    small = Image.fromarray(rng.standard_normal((n, n)).astype(np.float32))
    field = np.asarray(small.resize((size, size), Image.Resampling.BICUBIC), np.float32)
    white: Array = (field - field.mean()) / (field.std() + np.float32(1e-6))
    return white


def fractal_noise(rng: np.random.Generator, size: int, cell: float, octaves: int = 5) -> Array:
    """Sum of ``octaves`` layers of :func:`smooth_noise`, each half the cell and 0.55 the height.

    Returns:
        (size, size) float32, mean 0, std 1.
    """
    total = np.zeros((size, size), np.float32)
    for k in range(octaves):
        total += np.float32(0.55**k) * smooth_noise(rng, size, max(cell / 2**k, 2.0))
    white: Array = total / (total.std() + np.float32(1e-6))
    return white


def palette(rng: np.random.Generator, count: int) -> Array:
    """Random colours of one mood: hues near a base, or of the whole circle.

    Returns:
        (count, 3) float32 RGB in [0, 1].
    """
    base, spread = rng.random(), rng.choice([0.06, 0.15, 0.5])
    saturation = rng.uniform(0.0, 0.9)
    value = np.clip(rng.uniform(0.1, 1.0, count) + rng.uniform(-0.15, 0.25), 0.03, 1.0)
    hues = (base + rng.uniform(-spread, spread, count)) % 1.0
    tones = np.clip(saturation + rng.uniform(-0.2, 0.2, count), 0.0, 1.0)
    rows = [colorsys.hsv_to_rgb(h, s, v) for h, s, v in zip(hues, tones, value, strict=True)]
    return np.asarray(rows, np.float32)


def ramp(colours: Array, field: Array) -> Array:
    """Map a field to colours by linear interpolation along the palette.

    Args:
        colours: (k, 3) in [0, 1].
        field: (H, W) in [0, 1].

    Returns:
        (H, W, 3) float32 in [0, 1].
    """
    position = np.clip(field, 0.0, 1.0) * (len(colours) - 1)
    low = np.minimum(position.astype(np.int64), len(colours) - 2)
    part = (position - low)[..., None].astype(np.float32)
    mixed: Array = colours[low] * (1 - part) + colours[low + 1] * part
    return mixed


def blend(below: Array, above: Array, alpha: Array) -> Array:
    """Composite ``above`` over ``below``.

    Args:
        below: (H, W, 3) or (3,) in [0, 1].
        above: (H, W, 3) or (3,) in [0, 1].
        alpha: (H, W) in [0, 1].
    """
    a = np.clip(alpha, 0.0, 1.0)[..., None]
    mixed: Array = below * (1 - a) + above * a
    return mixed
