"""Patterns drawn mark by mark: brush strokes, hatching, confetti, washes, collage, pixels."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from stylegallery.training.fields import Array, blend, fractal_noise, palette, ramp, smooth_noise


def _canvas(colour: Array, size: int) -> Image.Image:
    r, g, b = (int(c * 255) for c in colour)
    return Image.new("RGB", (size, size), (r, g, b))


def _rgb(colour: Array) -> tuple[int, int, int]:
    r, g, b = (int(c) for c in np.clip(colour * 255, 0, 255))
    return r, g, b


def _array(image: Image.Image) -> Array:
    return np.asarray(image, np.float32) / np.float32(255)


def brush(rng: np.random.Generator, size: int) -> Array:
    """Thick strokes along a smooth flow, coloured by a second field: painterly texture."""
    flow = smooth_noise(rng, size, rng.uniform(60, 250)) * rng.uniform(0.3, 2.0) + rng.uniform(0, 6)
    tone = fractal_noise(rng, size, rng.uniform(50, 150), 3)
    colours = palette(rng, int(rng.integers(4, 10)))
    image = _canvas(colours[0], size)
    pen = ImageDraw.Draw(image)
    width, length = rng.uniform(2, 11), rng.uniform(6, 34)
    count = int(min(4000, 2.5 * size * size / (width * length)))
    for x, y in rng.uniform(0, size, (count, 2)):
        i, j = int(y), int(x)
        position = np.clip((tone[i, j] + 2) / 4 + rng.normal(0, 0.08), 0, 1)
        colour = ramp(colours, np.full((1, 1), position, np.float32))[0, 0]
        colour = colour * np.float32(1 + rng.normal(0, 0.1))
        dx, dy = np.cos(flow[i, j]) * length / 2, np.sin(flow[i, j]) * length / 2
        pen.line([x - dx, y - dy, x + dx, y + dy], _rgb(colour), max(1, int(width)))
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
    colours = palette(rng, int(rng.integers(3, 8)))
    image = _canvas(colours[0], size)
    pen = ImageDraw.Draw(image)
    radius, corners = rng.uniform(2, 18), int(rng.choice([3, 4, 5, 6, 16]))
    for x, y in rng.uniform(0, size, (int(0.5 * (size / radius) ** 2 / 4) + 5, 2)):
        turn = np.sort(rng.uniform(0, 2 * np.pi, corners))
        reach = radius * rng.uniform(0.6, 1.3)
        points = [(x + reach * np.cos(a), y + reach * np.sin(a)) for a in turn]
        pen.polygon(points, _rgb(colours[int(rng.integers(1, len(colours)))]))
    return _array(image.filter(ImageFilter.GaussianBlur(0.5)))


def watercolour(rng: np.random.Generator, size: int) -> Array:
    """Translucent washes with darker rims on paper grain."""
    image: Array = np.full((size, size, 3), rng.uniform(0.85, 1.0), np.float32)
    for colour in palette(rng, int(rng.integers(3, 8))):
        field = fractal_noise(rng, size, rng.uniform(40, 160), 4) - np.float32(rng.uniform(0, 0.8))
        inside = np.clip(field * 8, 0, 1)
        rim = np.exp(-((field / 0.1) ** 2))
        image = blend(image, image * colour, np.float32(0.6) * inside + np.float32(0.3) * rim)
    grain = 1 + 0.03 * smooth_noise(rng, size, 2.0)
    return image * grain[..., None].astype(np.float32)


def collage(rng: np.random.Generator, size: int) -> Array:
    """Flat shapes with hard edges, some outlined: cut paper, cubist planes."""
    colours = palette(rng, int(rng.integers(4, 9)))
    image = _canvas(colours[0], size)
    pen = ImageDraw.Draw(image)
    line = int(rng.integers(0, 5))
    for _ in range(int(rng.integers(8, 60))):
        centre, reach = rng.uniform(0, size, 2), rng.uniform(15, 120)
        points = [
            tuple(p) for p in centre + rng.uniform(-reach, reach, (int(rng.integers(3, 6)), 2))
        ]
        fill = _rgb(colours[int(rng.integers(len(colours)))])
        if rng.random() < 0.3:
            x, y, r = centre[0], centre[1], reach / 2
            pen.ellipse((x - r, y - r, x + r, y + r), fill, (10, 10, 10), line)
        else:
            pen.polygon(points, fill, (10, 10, 10), line)
    return _array(image.filter(ImageFilter.GaussianBlur(0.5)))


def pixels(rng: np.random.Generator, size: int) -> Array:
    """Square blocks from a quantised field."""
    block = int(rng.integers(4, 20))
    n = size // block + 1
    field = fractal_noise(rng, max(n, 8), rng.uniform(4, 16), 3)
    colours = palette(rng, int(rng.integers(3, 9)))
    level = np.clip((field + 2) / 4 * len(colours), 0, len(colours) - 1).astype(int)
    image: Array = colours[level].repeat(block, 0).repeat(block, 1)[:size, :size]
    return image
