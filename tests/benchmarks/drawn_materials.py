"""Materials that the benchmark draws itself: swatches with visible stitches, threads or beads."""

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, ImageDraw

from stylegallery.images.picture import Picture
from stylegallery.training import patterns
from stylegallery.training.patterns import Array

SIZE = 512
_SEED = 4
_SILK = ((170, 30, 60), (235, 190, 90), (40, 110, 90), (235, 225, 205))


def stitch(rng: np.random.Generator, size: int) -> Array:
    """Satin stitch: short threads side by side, whose direction changes from area to area."""
    field = patterns.smooth_noise(rng, size, size / 4)
    area = np.digitize(field, np.quantile(field, (0.25, 0.5, 0.75)))
    image = Image.new("RGB", (size, size), (225, 215, 195))
    pen = ImageDraw.Draw(image)
    for y, x in rng.uniform(0, size, (size * size // 18, 2)):
        kind = int(area[int(y), int(x)])
        dx, dy = 7 * np.cos(kind * 0.8 + 0.3), 7 * np.sin(kind * 0.8 + 0.3)
        color = np.clip(np.array(_SILK[kind]) * rng.uniform(0.6, 1.25), 0, 255).astype(int)
        pen.line([x - dx, y - dy, x + dx, y + dy], (*map(int, color),), 2)
    return np.asarray(image, np.float32) / np.float32(255)


def denim(rng: np.random.Generator, size: int) -> Array:
    """Twill: blue warp over white weft, shifted by one thread a row."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    warp, weft = np.floor(x / 4), np.floor(y / 4)
    over = (warp + weft) % 3 < 2
    thread = np.sin(np.pi * np.where(over, x, y) / 4) ** 2
    worn = 1 + 0.15 * patterns.smooth_noise(rng, size, 80)
    color = np.where(over[..., None], (0.18, 0.28, 0.5), (0.75, 0.78, 0.8))
    cloth: Array = (color * (0.55 + 0.45 * thread * worn)[..., None]).astype(np.float32)
    return cloth


def sequins(rng: np.random.Generator, size: int) -> Array:
    """Overlapping shiny discs in rows, each with a highlight of its own."""
    image = Image.new("RGB", (size, size), (60, 20, 60))
    pen = ImageDraw.Draw(image)
    radius = 9
    for row, y in enumerate(range(0, size + radius, radius)):
        for x in range(-radius, size + radius, 2 * radius - 2):
            center = x + (row % 2) * (radius - 1)
            light = rng.uniform(0.45, 1.3)
            color = tuple(min(255, int(value * light)) for value in (190, 70, 160))
            pen.ellipse((center - radius, y - radius, center + radius, y + radius), color)
            shift = rng.uniform(-4, 2, 2)
            spot = (center + shift[0], y + shift[1])
            pen.ellipse((*spot, spot[0] + 4, spot[1] + 4), (250, 220, 245))
    return np.asarray(image, np.float32) / np.float32(255)


def tweed(rng: np.random.Generator, size: int) -> Array:
    """Herringbone of two wools, with flecks."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    zigzag = np.abs((x / 48) % 1.0 - 0.5) * 48
    dark = ((y + zigzag) / 6) % 1.0 < 0.5
    wool = 1 + 0.25 * rng.standard_normal((size, size)).astype(np.float32)
    cloth = np.where(dark[..., None], (0.3, 0.25, 0.2), (0.62, 0.57, 0.48)) * wool[..., None]
    flecks = rng.random((size // 4, size // 4)).repeat(4, 0).repeat(4, 1)[..., None] > 0.985
    flecked: Array = np.where(flecks, (0.7, 0.35, 0.15), cloth).astype(np.float32)
    return flecked


DRAWN: dict[str, Callable[[np.random.Generator, int], Array]] = {
    "stitch": stitch,
    "weave": patterns.weave,
    "knit": patterns.knit,
    "denim": denim,
    "sequins": sequins,
    "tweed": tweed,
}


def drawn_material(name: str) -> Picture:
    """Return a swatch of 512 px; equal on every call."""
    drawn = np.clip(DRAWN[name](np.random.default_rng(_SEED), SIZE), 0, 1)
    return Picture(torch.from_numpy(drawn).permute(2, 0, 1)[None].contiguous())
