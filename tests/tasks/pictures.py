"""Valid and invalid image files for tests."""

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
    """Return smooth random colors, always the same."""
    small = np.random.default_rng(3).integers(0, 255, (4, 3, channels), dtype=np.uint8)
    image = Image.fromarray(small.squeeze()).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image)


def png_bomb(side: int = 20_000) -> bytes:
    """Return a valid black PNG of `side` x `side` pixels in some kilobytes."""
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
    """Return the PNG with a header that claims 60,000 x 60,000 pixels."""
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
    """Return a JPEG of 64 x 48 pixels whose EXIF orientation makes it 48 wide and 64 high."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return encoded(noise(48, 64), "JPEG", exif=exif)


def animated_webp() -> bytes:
    """Return a WebP with two frames."""
    out = io.BytesIO()
    frames = [Image.fromarray(noise()), Image.fromarray(noise()[::-1].copy())]
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:], duration=100)
    return out.getvalue()


def sixteen_bit_png() -> bytes:
    """Return a 16-bit gray PNG."""
    return encoded((noise()[..., 0].astype(np.uint16)) * 257, "PNG")
