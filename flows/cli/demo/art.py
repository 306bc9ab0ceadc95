"""Draws the demo's references: photos as oil paintings and as stained glass.

They replace the works of a real gallery, so that the demo needs no download and no license. No
diffusion model is used.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance
from scipy.ndimage import gaussian_filter, sobel
from scipy.spatial import cKDTree

Field = NDArray[np.float64]
Draw = Callable[[Image.Image, int], Image.Image]
"""Draws a reference from a photo and a random seed."""

_SHORT_SIDE = 448
_BRUSHES = ((26, 11, 2600), (15, 7, 5200), (9, 4, 5200))
"""Length and width in pixels, and number of strokes, coarse to fine."""


def oil(photo: Image.Image, seed: int) -> Image.Image:
    """Paint `photo` with short curved strokes along its edges, in more saturated colors."""
    rng = np.random.default_rng(seed)
    source = _prepared(photo, color=2.1, contrast=1.2)
    angles = _stroke_angles(source, rng)
    canvas = source.copy()
    pen = ImageDraw.Draw(canvas)
    pixels = np.asarray(source, dtype=np.float64)
    height, width = angles.shape
    for length, breadth, count in _BRUSHES:
        for x, y in rng.uniform((0, 0), (width - 1, height - 1), (count, 2)):
            path = _curved_path(angles, x, y, length)
            tone = pixels[int(y), int(x)] + rng.normal(0, 9, 3) + rng.normal(0, 16)
            pen.line(path, _rgb(tone), breadth, joint="curve")
            ridge = [(px + breadth / 3, py - breadth / 3) for px, py in path]
            pen.line(ridge, _rgb(tone + 26), max(1, breadth // 4))
    return canvas


def glass(photo: Image.Image, seed: int, panes: int = 520) -> Image.Image:
    """Draw `photo` as panes of one bright color each, with dark lead between them."""
    rng = np.random.default_rng(seed)
    source = _prepared(photo, color=2.6, contrast=1.35)
    height, width = source.height, source.width
    centers = rng.uniform((0, 0), (height, width), (panes, 2))
    grid = np.moveaxis(np.mgrid[:height, :width], 0, -1).reshape(-1, 2)
    distance, did_you_mean = cKDTree(centers).query(grid, k=2)
    owner = did_you_mean[:, 0]
    pixels = np.asarray(source, dtype=np.float64).reshape(-1, 3)
    size = np.maximum(np.bincount(owner, minlength=panes), 1)[:, None]
    sums: Field = np.zeros((panes, 3))
    np.add.at(sums, owner, pixels)
    pane = (sums / size) * 1.1 + rng.normal(0, 14, (panes, 3))
    glow = 1.0 + 0.25 * gaussian_filter(rng.normal(0, 1, (height, width)), 5).reshape(-1, 1) * 8
    gap = distance[:, 1] - distance[:, 0]
    lead = 1.0 / (1.0 + np.exp(-(gap - 3.2) * 1.6))[:, None]
    image = pane[owner] * glow * lead + 18 * (1 - lead)
    return Image.fromarray(image.clip(0, 255).astype(np.uint8).reshape(height, width, 3))


def _prepared(photo: Image.Image, color: float, contrast: float) -> Image.Image:
    scale = _SHORT_SIDE / min(photo.size)
    size = (round(photo.width * scale), round(photo.height * scale))
    image = photo.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    return ImageEnhance.Contrast(ImageEnhance.Color(image).enhance(color)).enhance(contrast)


def _stroke_angles(image: Image.Image, rng: np.random.Generator) -> Field:
    """Return the stroke direction of each pixel in radians (H, W).

    Strokes follow edges; a random smooth field sets their direction where there are none.
    """
    gray = gaussian_filter(np.asarray(image.convert("L"), dtype=np.float64), 2)
    gx, gy = sobel(gray, 1), sobel(gray, 0)
    xx, yy, xy = (gaussian_filter(p, 6) for p in (gx * gx, gy * gy, gx * gy))
    swirl = gaussian_filter(rng.normal(0, 1, gray.shape), 38)
    swirl *= 1.6 / swirl.std()
    strength = np.hypot(xx - yy, 2 * xy)
    calm = np.median(strength) + 1e-6
    cos = (xx - yy) + calm * np.cos(2 * swirl)
    sin = 2 * xy + calm * np.sin(2 * swirl)
    angles: Field = 0.5 * np.arctan2(sin, cos) + np.pi / 2
    return angles


def _curved_path(angles: Field, x: float, y: float, length: int) -> list[tuple[float, float]]:
    height, width = angles.shape
    path = [(x, y)]
    for _ in range(4):
        angle = angles[min(max(int(y), 0), height - 1), min(max(int(x), 0), width - 1)]
        x, y = x + np.cos(angle) * length / 4, y + np.sin(angle) * length / 4
        path.append((x, y))
    return path


def _rgb(tone: Field) -> tuple[int, int, int]:
    red, green, blue = (int(c) for c in tone.clip(0, 255))
    return red, green, blue
