"""Files whose colors are known: profiles, chunks and tags written by hand, and plain maths.

Nothing here uses the product's own code for colors.
"""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

Floats = np.ndarray[Any, np.dtype[np.float64]]

D65 = (0.3127, 0.3290)
PRIMARIES = {
    "srgb": ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
    "p3": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    "adobe": ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)),
    "rec2020": ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
}
_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


def colors(height: int = 64, width: int = 48) -> np.ndarray:
    """Smooth colors of every hue, dark ones among them: (H, W, 3) uint8."""
    rows, columns = np.mgrid[0:height, 0:width]
    bands = (rows * 255 / (height - 1), columns * 255 / (width - 1), 255 - rows * 3.5)
    return np.stack(bands, axis=-1).clip(0, 255).astype(np.uint8)


def linear(encoded: Floats) -> Floats:
    """From sRGB values to linear light."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def srgb(light: Floats) -> Floats:
    """From linear light to sRGB values."""
    light = light.clip(0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def shown(pixels: np.ndarray, primaries: str, decode: Callable[[Floats], Floats]) -> Floats:
    """What 8-bit values in another space look like, as sRGB values in [0, 1]."""
    to_srgb = np.linalg.inv(to_xyz("srgb")) @ to_xyz(primaries)
    return srgb(decode(pixels / 255.0) @ to_srgb.T)


def to_xyz(primaries: str) -> Floats:
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in PRIMARIES[primaries]]).T
    return columns * np.linalg.solve(columns, _white())[None]


def rgb_icc(primaries: str, gamma: float | None = None) -> bytes:
    """A matrix profile, with the curve of sRGB or a plain gamma."""
    gains = (_BRADFORD @ _D50) / (_BRADFORD @ _white())
    adapted = np.linalg.inv(_BRADFORD) @ np.diag(gains) @ _BRADFORD @ to_xyz(primaries)
    tags = {b"wtpt": _xyz(_D50)}
    for number, name in enumerate((b"r", b"g", b"b")):
        tags |= {name + b"XYZ": _xyz(adapted[:, number]), name + b"TRC": _curve(gamma)}
    return _icc(b"RGB ", tags)


def gray_icc(gamma: float) -> bytes:
    """A gray profile of a plain gamma."""
    return _icc(b"GRAY", {b"wtpt": _xyz(_D50), b"kTRC": _curve(gamma)})


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The image as a file."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def with_chunks(png: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG with more chunks after its header."""
    return png[:33] + b"".join(_chunk(*chunk) for chunk in chunks) + png[33:]


def png_of(values: np.ndarray, depth: int, kind: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of (H, W) or (H, W, C) values of any depth and color type, written by hand."""
    height, width = values.shape[:2]
    rows = values.reshape(height, -1)
    if depth == 16:
        lines = [row.astype(">u2").tobytes() for row in rows]
    else:
        bits = np.unpackbits(rows.astype(np.uint8)[..., None], axis=-1)[..., 8 - depth :]
        lines = [line.tobytes() for line in np.packbits(bits.reshape(height, -1), axis=-1)]
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + line for line in lines))
    parts = [(b"IHDR", header), *chunks, (b"IDAT", body), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*part) for part in parts)


def _white() -> Floats:
    x, y = D65
    return np.array([x / y, 1, (1 - x - y) / y])


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum


def _s15(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _xyz(values: Floats) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(map(_s15, values))


def _curve(gamma: float | None) -> bytes:
    if gamma is not None:
        return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    numbers = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    return b"para\0\0\0\0" + struct.pack(">HH", 3, 0) + b"".join(map(_s15, numbers))


def _icc(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    description = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78)
    tags = {b"desc": description, b"cprt": b"text\0\0\0\0none\0", **tags}
    offset, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">I4xI", offset + len(body), 0x02400000) + b"mntr" + space + b"XYZ "
    header += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp"
    header = header.ljust(68, b"\0") + b"".join(map(_s15, _D50))
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def gradient(width: int = 40, height: int = 60) -> Image.Image:
    rows, columns = np.mgrid[0:height, 0:width]
    return Image.fromarray(
        np.stack([columns * 6, rows * 4, np.full_like(rows, 90)], axis=-1).astype(np.uint8)
    )
