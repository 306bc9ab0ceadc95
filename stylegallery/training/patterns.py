"""Procedural textures in random colours: cloth, print, stone, paint. Each is drawn from a seed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from stylegallery.training import strokes
from stylegallery.training.fields import (
    Array,
    blend,
    fractal_noise,
    grid,
    palette,
    ramp,
    smooth_noise,
)

Draw = Callable[[np.random.Generator, int], Array]


def weave(rng: np.random.Generator, size: int) -> Array:
    """Over-and-under threads, plain weave or twill."""
    u, v = grid(rng, size)
    pitch, shift = rng.uniform(4, 14), rng.integers(1, 4)
    i, j = np.floor(u / pitch), np.floor(v / pitch)
    over = (i + j * shift) % (2 if shift == 1 else 4) < (1 if shift == 1 else 2)
    along = np.where(over, u, v) / pitch % 1.0
    across = np.where(over, v, u) / pitch % 1.0
    warp, weft = palette(rng, 2)
    shade = 0.55 + 0.45 * np.sin(np.pi * across) * (0.7 + 0.3 * np.sin(np.pi * along))
    colour: Array = np.where(over[..., None], warp, weft) * shade[..., None].astype(np.float32)
    return colour


def plaid(rng: np.random.Generator, size: int) -> Array:
    """Tartan: translucent stripes both ways on a ground."""
    u, v = grid(rng, size)
    period = rng.uniform(30, 140)
    colours = palette(rng, int(rng.integers(3, 6)))
    image: Array = np.broadcast_to(colours[0], (size, size, 3)).astype(np.float32)
    for colour in colours[1:]:
        start, width = rng.random(), rng.uniform(0.03, 0.35)
        for axis in (u, v):
            inside = ((axis / period + start) % 1.0 < width).astype(np.float32)
            image = blend(image, colour, 0.55 * inside)
    return image


def stripes(rng: np.random.Generator, size: int) -> Array:
    """Stripes, straight or bent by noise, hard or soft."""
    u, _ = grid(rng, size)
    bend = rng.choice([0.0, 0.0, 8.0, 25.0]) * smooth_noise(rng, size, rng.uniform(30, 150))
    wave = np.sin((u + bend) * (2 * np.pi / rng.uniform(5, 60)))
    hard = rng.uniform(0.7, 8.0)
    field: Array = (0.5 + 0.5 * np.tanh(hard * wave)).astype(np.float32)
    return ramp(palette(rng, int(rng.integers(2, 5))), field)


def chevrons(rng: np.random.Generator, size: int) -> Array:
    """Zigzag bands or herringbone."""
    u, v = grid(rng, size)
    period, rise = rng.uniform(12, 70), rng.uniform(0.4, 1.6)
    zigzag = np.abs((u / period) % 1.0 - 0.5) * period * rise
    band = ((v + zigzag) / (period * rng.uniform(0.2, 0.8))) % 1.0
    colours = palette(rng, int(rng.integers(2, 5)))
    image: Array = colours[np.minimum((band * len(colours)).astype(int), len(colours) - 1)]
    return image


def knit(rng: np.random.Generator, size: int) -> Array:
    """Rows of V-shaped stitches, optionally with a colour motif."""
    u, v = grid(rng, size)
    w = rng.uniform(8, 22)
    h = w * rng.uniform(0.6, 1.0)
    side = np.abs((u / w) % 1.0 - 0.5)
    lean = v / h + side * 1.4
    rib = np.sin(np.pi * (lean % 1.0)) * np.sin(np.pi * np.clip(side * 2, 0.02, 0.98))
    colours = palette(rng, 3)
    motif = (np.floor(lean) + np.floor(u / w)) % rng.integers(2, 6) < 1
    base: Array = np.where(motif[..., None], colours[0], colours[1])
    shade: Array = (0.35 + 0.65 * np.clip(rib, 0, 1) ** 0.6).astype(np.float32)
    return base * shade[..., None]


def halftone(rng: np.random.Generator, size: int) -> Array:
    """Dots on a screen whose radius follows a smooth field."""
    u, v = grid(rng, size)
    pitch = rng.uniform(5, 28)
    du, dv = (u / pitch) % 1.0 - 0.5, (v / pitch) % 1.0 - 0.5
    tone = 0.32 + 0.12 * smooth_noise(rng, size, rng.uniform(60, 200))
    ground, ink = palette(rng, 2)
    field: Array = (0.5 + (tone - np.hypot(du, dv)) * pitch * 0.7).astype(np.float32)
    return blend(np.broadcast_to(ground, (size, size, 3)), ink, field)


def mosaic(rng: np.random.Generator, size: int) -> Array:
    """Voronoi tiles or stained glass with joints between."""
    count = int((size / rng.uniform(9, 50)) ** 2) + 4
    seeds = rng.uniform(0, size, (count, 2))
    y, x = np.mgrid[0:size, 0:size]
    distance, index = cKDTree(seeds).query(np.stack([y, x], -1).reshape(-1, 2), k=2)
    colours = palette(rng, int(rng.integers(3, 9)))
    tone = fractal_noise(rng, size, 80)[seeds[:, 0].astype(int), seeds[:, 1].astype(int)]
    pick = np.clip((tone + 2) / 4 * len(colours), 0, len(colours) - 1).astype(int)
    gain = rng.uniform(0.75, 1.15, count).astype(np.float32)
    tile: Array = (colours[pick] * gain[:, None])[index[:, 0]].reshape(size, size, 3)
    gap = (distance[:, 1] - distance[:, 0]).reshape(size, size)
    joint: Array = (rng.uniform(0.5, 3.0) - gap).astype(np.float32)
    return blend(tile, palette(rng, 1)[0] * np.float32(rng.uniform(0.1, 1)), joint)


def marble(rng: np.random.Generator, size: int) -> Array:
    """Veins: a sine bent by fractal noise."""
    u, _ = grid(rng, size)
    turbulence = fractal_noise(rng, size, rng.uniform(40, 160)) * rng.uniform(6, 40)
    veins = np.abs(np.sin((u + turbulence) * np.pi / rng.uniform(20, 90))) ** rng.uniform(0.3, 2)
    return ramp(palette(rng, int(rng.integers(2, 6))), veins.astype(np.float32))


def wood(rng: np.random.Generator, size: int) -> Array:
    """Grain: noise stretched along one axis."""
    u, v = grid(rng, size)
    bend = smooth_noise(rng, size, 90) * rng.uniform(4, 30)
    rings = np.sin((u + bend) / rng.uniform(1.5, 9)) * 0.25 + 0.5
    fibre = smooth_noise(rng, size, 3) * 0.06 + np.sin(v / 40) * 0.1
    return ramp(palette(rng, 3), (rings + fibre).astype(np.float32))


def clouds(rng: np.random.Generator, size: int) -> Array:
    """Fractal noise through a palette, soft to sharp."""
    field = fractal_noise(rng, size, rng.uniform(12, 200), int(rng.integers(1, 6)))
    sharp = np.float32(rng.uniform(0.3, 2.5))
    return ramp(palette(rng, int(rng.integers(2, 7))), 0.5 + 0.5 * np.tanh(sharp * field))


def spots(rng: np.random.Generator, size: int) -> Array:
    """Animal print: islands and rims of a band-passed field."""
    cell = rng.uniform(10, 40)
    field = smooth_noise(rng, size, cell) - 0.6 * smooth_noise(rng, size, cell * 2)
    ground, rim, core = palette(rng, 3)
    image = blend(np.broadcast_to(ground, (size, size, 3)), rim, (field - np.float32(0.3)) * 6)
    return blend(image, core, (field - np.float32(rng.uniform(0.7, 1.2))) * 6)


def scales(rng: np.random.Generator, size: int) -> Array:
    """Overlapping round shingles with rings."""
    u, v = grid(rng, size)
    pitch = rng.uniform(12, 50)
    row = np.floor(v / pitch * 2)
    du = ((u / pitch + 0.5 * (row % 2)) % 1.0) - 0.5
    radius = np.hypot(du, (v / pitch * 2 % 1.0) * 0.5)
    rings = (radius * rng.uniform(1, 6)) % 1.0
    return ramp(palette(rng, int(rng.integers(2, 5))), rings.astype(np.float32))


PATTERNS: tuple[Draw, ...] = (
    weave, plaid, stripes, chevrons, knit, halftone, mosaic, marble, wood, clouds, spots, scales,
    strokes.brush, strokes.brush, strokes.brush, strokes.hatching, strokes.confetti,
    strokes.watercolour, strokes.collage, strokes.pixels,
)  # fmt: skip


def draw(seed: int | tuple[int, ...], size: int = 288) -> NDArray[np.uint8]:
    """One random pattern.

    Args:
        seed: everything that varies follows from it.
        size: side in pixels.

    Returns:
        (size, size, 3) uint8 RGB.
    """
    rng = np.random.default_rng(seed)
    image = PATTERNS[int(rng.integers(len(PATTERNS)))](rng, size)
    if rng.random() < 0.5:
        image = image * (1 + 0.12 * smooth_noise(rng, size, rng.uniform(60, 250)))[..., None]
    if rng.random() < 0.4:
        grain = rng.uniform(0.01, 0.05) * rng.standard_normal((size, size, 1))
        image = image + grain.astype(np.float32)
    return np.asarray(np.clip(image, 0, 1) * 255 + 0.5, np.uint8)
