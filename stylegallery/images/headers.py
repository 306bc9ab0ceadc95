"""Read color information from file headers that Pillow does not read or reads wrongly."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from PIL import Image

_PNG_START = 8
_AVIF_HEADER = 1 << 16


class Cicp(NamedTuple):
    """A color space by the code points of ITU-T H.273, as in the PNG chunk cICP and in AVIF."""

    primaries: int
    transfer: int
    full_range: bool


def add_to_info(image: Image.Image, data: bytes) -> None:
    """Add `cicp` to `image.info`, and scale `transparency` to 8 bits.

    Args:
        image: A newly opened image.
        data: Bytes of its file.
    """
    if image.format == "AVIF":
        image.info["cicp"] = _avif_cicp(data)
    if image.format != "PNG":
        return
    depth = 8
    for kind, content in _png_chunks(data):
        if kind == b"IHDR" and len(content) > 8:
            depth = content[8]
        elif kind == b"cICP" and len(content) == 4 and content[2] == 0:  # RGB, not YCbCr
            image.info["cicp"] = Cicp(content[0], content[1], content[3] == 1)
    clear = image.info.get("transparency")
    # Pillow scales the pixels to 8 bits, but not the value of the chunk tRNS.
    if image.mode == "L" and isinstance(clear, int):
        image.info["transparency"] = clear * 255 // ((1 << depth) - 1)
    elif image.mode == "RGB" and isinstance(clear, tuple) and depth == 16:
        image.info["transparency"] = tuple(value >> 8 for value in clear)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the type and content of each chunk before the pixels."""
    at = _PNG_START
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind in (b"IDAT", b"IEND"):
            return
        yield kind, data[at + 8 : at + 8 + length]
        at += length + 12


def _avif_cicp(data: bytes) -> Cicp | None:
    """Return the code points of the first `nclx` color box (ISO/IEC 14496-12, 12.1.5)."""
    at = data.find(b"colrnclx", 0, _AVIF_HEADER)
    if at < 0 or at + 15 > len(data):
        return None
    primaries, transfer = struct.unpack_from(">HH", data, at + 8)
    return Cicp(primaries, transfer, True)  # the decoder expands video range to full range
