"""Picture files for tests, good ones and bad ones."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image


def save(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    """Write an array of 8-bit pixels as an image file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def noise(height: int = 64, width: int = 48, channels: int = 3) -> np.ndarray:
    """Smooth colours, the same every time."""
    small = np.random.default_rng(3).integers(0, 255, (4, 3, channels), dtype=np.uint8)
    image = Image.fromarray(small.squeeze()).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image)


def png_bomb(side: int = 20_000) -> bytes:
    """A valid PNG of `side` x `side` pixels, black, in some kilobytes."""
    rows = zlib.compressobj(9)
    row = bytes(1 + (side + 7) // 8)
    body = b"".join(rows.compress(row) for _ in range(side)) + rows.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", body), (b"IEND", b"")]
    out = b"\x89PNG\r\n\x1a\n"
    for kind, data in chunks:
        out += struct.pack(">I", len(data)) + kind + data
        out += struct.pack(">I", zlib.crc32(kind + data))
    return out


def huge_header(png: bytes) -> bytes:
    """The PNG with a header that claims 60,000 x 60,000 pixels."""
    at = png.index(b"IHDR") + 4
    header = (60_000).to_bytes(4, "big") * 2 + png[at + 8 : at + 13]
    checksum = zlib.crc32(b"IHDR" + header).to_bytes(4, "big")
    return png[:at] + header + checksum + png[at + 17 :]


def encoded(pixels: np.ndarray, kind: str, mode: str = "", **options: Any) -> bytes:
    """Return an array as the bytes of an image file."""
    out = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(out, kind, **options)
    return out.getvalue()


def rotated_jpeg() -> bytes:
    """A JPEG stored lying (64 wide, 48 high) that its EXIF turns upright (48 wide, 64 high)."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return encoded(noise(48, 64), "JPEG", exif=exif)


def animated_webp() -> bytes:
    """Two frames."""
    out = io.BytesIO()
    frames = [Image.fromarray(noise()), Image.fromarray(noise()[::-1].copy())]
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:], duration=100)
    return out.getvalue()


def sixteen_bit_png() -> bytes:
    """Grey, 16 bits."""
    return encoded((noise()[..., 0].astype(np.uint16)) * 257, "PNG")
