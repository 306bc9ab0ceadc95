"""Draw procedural textures from seeds: cloth, print, stone, paint."""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from scipy.spatial import cKDTree

Array = NDArray[np.float32]
Draw = Callable[[np.random.Generator, int], Array]


def draw(seed: int | tuple[int, ...], size: int = 288) -> NDArray[np.uint8]:
    """Draw a random pattern.

    Args:
        seed: Determines the pattern.
        size: Side in pixels.

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
    color: Array = np.where(over[..., None], warp, weft) * shade[..., None].astype(np.float32)
    return color


def plaid(rng: np.random.Generator, size: int) -> Array:
    """Tartan: translucent stripes both ways on a ground."""
    u, v = grid(rng, size)
    period = rng.uniform(30, 140)
    colors = palette(rng, int(rng.integers(3, 6)))
    image: Array = np.broadcast_to(colors[0], (size, size, 3)).astype(np.float32)
    for color in colors[1:]:
        start, width = rng.random(), rng.uniform(0.03, 0.35)
        for axis in (u, v):
            inside = ((axis / period + start) % 1.0 < width).astype(np.float32)
            image = blend(image, color, 0.55 * inside)
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
    colors = palette(rng, int(rng.integers(2, 5)))
    image: Array = colors[np.minimum((band * len(colors)).astype(int), len(colors) - 1)]
    return image


def knit(rng: np.random.Generator, size: int) -> Array:
    """Rows of V-shaped stitches, optionally with a color motif."""
    u, v = grid(rng, size)
    w = rng.uniform(8, 22)
    h = w * rng.uniform(0.6, 1.0)
    side = np.abs((u / w) % 1.0 - 0.5)
    lean = v / h + side * 1.4
    rib = np.sin(np.pi * (lean % 1.0)) * np.sin(np.pi * np.clip(side * 2, 0.02, 0.98))
    colors = palette(rng, 3)
    motif = (np.floor(lean) + np.floor(u / w)) % rng.integers(2, 6) < 1
    base: Array = np.where(motif[..., None], colors[0], colors[1])
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
    colors = palette(rng, int(rng.integers(3, 9)))
    tone = fractal_noise(rng, size, 80)[seeds[:, 0].astype(int), seeds[:, 1].astype(int)]
    pick = np.clip((tone + 2) / 4 * len(colors), 0, len(colors) - 1).astype(int)
    gain = rng.uniform(0.75, 1.15, count).astype(np.float32)
    tile: Array = (colors[pick] * gain[:, None])[index[:, 0]].reshape(size, size, 3)
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
    """Overlapping round scales with rings."""
    u, v = grid(rng, size)
    pitch = rng.uniform(12, 50)
    row = np.floor(v / pitch * 2)
    du = ((u / pitch + 0.5 * (row % 2)) % 1.0) - 0.5
    radius = np.hypot(du, (v / pitch * 2 % 1.0) * 0.5)
    rings = (radius * rng.uniform(1, 6)) % 1.0
    return ramp(palette(rng, int(rng.integers(2, 5))), rings.astype(np.float32))


def brush(rng: np.random.Generator, size: int) -> Array:
    """Thick strokes along a smooth flow, colored by a second field: painterly texture."""
    flow = smooth_noise(rng, size, rng.uniform(60, 250)) * rng.uniform(0.3, 2.0) + rng.uniform(0, 6)
    tone = fractal_noise(rng, size, rng.uniform(50, 150), 3)
    colors = palette(rng, int(rng.integers(4, 10)))
    image = _canvas(colors[0], size)
    pen = ImageDraw.Draw(image)
    width, length = rng.uniform(2, 11), rng.uniform(6, 34)
    count = int(min(4000, 2.5 * size * size / (width * length)))
    for x, y in rng.uniform(0, size, (count, 2)):
        i, j = int(y), int(x)
        position = np.clip((tone[i, j] + 2) / 4 + rng.normal(0, 0.08), 0, 1)
        color = ramp(colors, np.full((1, 1), position, np.float32))[0, 0]
        color = color * np.float32(1 + rng.normal(0, 0.1))
        dx, dy = np.cos(flow[i, j]) * length / 2, np.sin(flow[i, j]) * length / 2
        pen.line([x - dx, y - dy, x + dx, y + dy], _rgb(color), max(1, int(width)))
    return _array(image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 0.9)))))


def hatching(rng: np.random.Generator, size: int) -> Array:
    """Pen lines in one or two directions, denser where a field is dark."""
    paper, ink = palette(rng, 2)
    image = _canvas(paper, size)
    pen = ImageDraw.Draw(image)
    tone = smooth_noise(rng, size, rng.uniform(50, 150))
    angles = rng.uniform(0, np.pi, int(rng.integers(1, 3)))
    length, width = rng.uniform(10, 40), int(rng.integers(1, 4))
    for x, y in rng.uniform(0, size, (int(rng.uniform(500, 2200)), 2)):
        if tone[int(y), int(x)] < rng.normal(0, 0.7):
            angle = rng.choice(angles) + rng.normal(0, 0.06)
            dx, dy = np.cos(angle) * length / 2, np.sin(angle) * length / 2
            pen.line([x - dx, y - dy, x + dx, y + dy], _rgb(ink), width)
    return _array(image.filter(ImageFilter.GaussianBlur(0.5)))


def confetti(rng: np.random.Generator, size: int) -> Array:
    """Scattered chips or dots: terrazzo, polka dots, petals."""
    colors = palette(rng, int(rng.integers(3, 8)))
    image = _canvas(colors[0], size)
    pen = ImageDraw.Draw(image)
    radius, corners = rng.uniform(2, 18), int(rng.choice([3, 4, 5, 6, 16]))
    for x, y in rng.uniform(0, size, (int(0.5 * (size / radius) ** 2 / 4) + 5, 2)):
        turn = np.sort(rng.uniform(0, 2 * np.pi, corners))
        reach = radius * rng.uniform(0.6, 1.3)
        points = [(x + reach * np.cos(a), y + reach * np.sin(a)) for a in turn]
        pen.polygon(points, _rgb(colors[int(rng.integers(1, len(colors)))]))
    return _array(image.filter(ImageFilter.GaussianBlur(0.5)))


def watercolor(rng: np.random.Generator, size: int) -> Array:
    """Translucent washes with darker rims on paper grain."""
    image: Array = np.full((size, size, 3), rng.uniform(0.85, 1.0), np.float32)
    for color in palette(rng, int(rng.integers(3, 8))):
        field = fractal_noise(rng, size, rng.uniform(40, 160), 4) - np.float32(rng.uniform(0, 0.8))
        inside = np.clip(field * 8, 0, 1)
        rim = np.exp(-((field / 0.1) ** 2))
        image = blend(image, image * color, np.float32(0.6) * inside + np.float32(0.3) * rim)
    grain = 1 + 0.03 * smooth_noise(rng, size, 2.0)
    return image * grain[..., None].astype(np.float32)


def collage(rng: np.random.Generator, size: int) -> Array:
    """Flat shapes with hard edges, some outlined: cut paper, cubist planes."""
    colors = palette(rng, int(rng.integers(4, 9)))
    image = _canvas(colors[0], size)
    pen = ImageDraw.Draw(image)
    line = int(rng.integers(0, 5))
    for _ in range(int(rng.integers(8, 60))):
        center, reach = rng.uniform(0, size, 2), rng.uniform(15, 120)
        points = [
            tuple(p) for p in center + rng.uniform(-reach, reach, (int(rng.integers(3, 6)), 2))
        ]
        fill = _rgb(colors[int(rng.integers(len(colors)))])
        if rng.random() < 0.3:
            x, y, r = center[0], center[1], reach / 2
            pen.ellipse((x - r, y - r, x + r, y + r), fill, (10, 10, 10), line)
        else:
            pen.polygon(points, fill, (10, 10, 10), line)
    return _array(image.filter(ImageFilter.GaussianBlur(0.5)))


def pixels(rng: np.random.Generator, size: int) -> Array:
    """Square blocks from a quantized field."""
    block = int(rng.integers(4, 20))
    n = size // block + 1
    field = fractal_noise(rng, max(n, 8), rng.uniform(4, 16), 3)
    colors = palette(rng, int(rng.integers(3, 9)))
    level = np.clip((field + 2) / 4 * len(colors), 0, len(colors) - 1).astype(int)
    image: Array = colors[level].repeat(block, 0).repeat(block, 1)[:size, :size]
    return image


PATTERNS: tuple[Draw, ...] = (
    weave, plaid, stripes, chevrons, knit, halftone, mosaic, marble, wood, clouds, spots, scales,
    brush, brush, brush, hatching, confetti,
    watercolor, collage, pixels,
)  # fmt: skip


def grid(rng: np.random.Generator, size: int) -> tuple[Array, Array]:
    """Return pixel coordinates, often rotated by a random angle.

    Returns:
        u and v, each (size, size) float32, in pixels.
    """
    angle = rng.uniform(0, np.pi) if rng.random() < 0.6 else 0.0
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return c * x + s * y, c * y - s * x


def smooth_noise(rng: np.random.Generator, size: int, cell: float) -> Array:
    """Return bicubic value noise with features of about `cell` pixels.

    Returns:
        (size, size) float32, mean 0, std 1.
    """
    n = max(2, int(np.ceil(size / cell)) + 1)
    small = Image.fromarray(rng.standard_normal((n, n)).astype(np.float32))
    field = np.asarray(small.resize((size, size), Image.Resampling.BICUBIC), np.float32)
    white: Array = (field - field.mean()) / (field.std() + np.float32(1e-6))
    return white


def fractal_noise(rng: np.random.Generator, size: int, cell: float, octaves: int = 5) -> Array:
    """Sum `octaves` layers of :func:`smooth_noise`; each has half the cell and 0.55 of the height.

    Returns:
        (size, size) float32, mean 0, std 1.
    """
    total = np.zeros((size, size), np.float32)
    for k in range(octaves):
        total += np.float32(0.55**k) * smooth_noise(rng, size, max(cell / 2**k, 2.0))
    white: Array = total / (total.std() + np.float32(1e-6))
    return white


def palette(rng: np.random.Generator, count: int) -> Array:
    """Return random colors, with hues around a base or over the whole circle.

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


def ramp(colors: Array, field: Array) -> Array:
    """Map a field to colors by linear interpolation along a palette.

    Args:
        colors: (k, 3) in [0, 1].
        field: (H, W) in [0, 1].

    Returns:
        (H, W, 3) float32 in [0, 1].
    """
    position = np.clip(field, 0.0, 1.0) * (len(colors) - 1)
    low = np.minimum(position.astype(np.int64), len(colors) - 2)
    part = (position - low)[..., None].astype(np.float32)
    mixed: Array = colors[low] * (1 - part) + colors[low + 1] * part
    return mixed


def blend(below: Array, above: Array, alpha: Array) -> Array:
    """Composite `above` over `below`.

    Args:
        below: (H, W, 3) or (3,) in [0, 1].
        above: (H, W, 3) or (3,) in [0, 1].
        alpha: (H, W) in [0, 1].
    """
    a = np.clip(alpha, 0.0, 1.0)[..., None]
    mixed: Array = below * (1 - a) + above * a
    return mixed


def _canvas(color: Array, size: int) -> Image.Image:
    r, g, b = (int(c * 255) for c in color)
    return Image.new("RGB", (size, size), (r, g, b))


def _rgb(color: Array) -> tuple[int, int, int]:
    r, g, b = (int(c) for c in np.clip(color * 255, 0, 255))
    return r, g, b


def _array(image: Image.Image) -> Array:
    return np.asarray(image, np.float32) / np.float32(255)
