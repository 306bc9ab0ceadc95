"""Image files opened: of a known format, within the limits, and what their decoders raise."""

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from PIL import Image

from stylegallery.errors import BadImage
from stylegallery.headers import add_to_info
from stylegallery.wording import one_line

FORMATS: Final = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
MAX_PIXELS = 80_000_000
_EOI, _SOS = b"\xff\xd9", b"\xff\xda"
_ROWS = 256
_PROBE = b"\x5a" * 64
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def open_image(data: bytes, name: str) -> Image.Image:
    """Open an image file of a known format within the size limit; pixels are not read yet.

    A JPEG that lacks nothing but the marker at its end gets that marker.

    Raises:
        BadImage: not an image, or too many pixels.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except MemoryError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImage(_too_large(name)) from error
    except Exception as error:  # parsers of broken files raise whatever they stumble over
        raise BadImage(_unknown(data, name)) from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise BadImage(_too_large(name, f" ({width}x{height})"))
    if image.format in ("JPEG", "MPO") and not data.endswith(_EOI):
        scan = data.removesuffix(_EOI[:1])
        if _lacks_only_its_end(scan):
            image = Image.open(io.BytesIO(scan + _EOI), formats=FORMATS)
    add_to_info(image, data)
    return image


def draft_size(image: Image.Image, side: int) -> None:
    """Have a large JPEG decoded small, if it is to be shrunk to a longer side of `side` pixels."""
    image.draft("RGB", (side * 2, side * 2))


def pixels_to_hold(data: bytes, side: int) -> int:
    """Return how many pixels are in memory at once while an image file is shrunk.

    Its header alone is read. What is no image has none.

    Args:
        data: The file's bytes.
        side: Longer side that it is shrunk to.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except MemoryError:
        raise
    except Exception:  # whoever decodes it says what is wrong
        return 0
    # The decoder of a progressive JPEG holds all of it, and a lack of its end is looked into.
    if data.endswith(_EOI) and "progressive" not in image.info:
        draft_size(image, side)
    return image.width * image.height


def check_still(image: Image.Image, name: str) -> None:
    """Refuse an animated image.

    Raises:
        BadImage: it has several frames that follow each other in time.
    """
    with damage_named(name):
        animated = getattr(image, "is_animated", False)  # n_frames would look for all of them
    if animated and image.format not in ("MPO", "TIFF"):  # MPO: what some phones call JPEG
        raise BadImage(f"{name} is animated; save one frame as a still image.")


@contextmanager
def damage_named(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises into a sentence.

    Raises:
        BadImage: the block raised something other than that, or than a lack of memory.
    """
    try:
        yield
    except (BadImage, MemoryError):
        raise
    except Exception as error:  # decoders of broken files raise whatever they stumble over
        reason = one_line(str(error), 120) or "its data make no sense"
        raise BadImage(f"{name} is damaged or cut short ({reason}); export it again.") from error


def _lacks_only_its_end(data: bytes) -> bool:
    """Whether a JPEG has all its pixels but not the marker that ends it.

    A decoder makes up what is missing. Where all is there, it is the same whatever follows.
    """
    if data.rfind(_EOI) > data.rfind(_SOS):
        return False
    try:
        first, other = (_hash_of_pixels(data + more + _EOI) for more in (b"", _PROBE))
    except MemoryError:
        raise
    except Exception:  # decoders of broken files raise whatever they stumble over
        return False
    return first == other


def _hash_of_pixels(data: bytes) -> bytes:
    """Decode a JPEG, row by row as bytes, and hold no more than its pixels once."""
    image = Image.open(io.BytesIO(data), formats=("JPEG",))
    digest = hashlib.sha256()
    for top in range(0, image.height, _ROWS):
        band = image.crop((0, top, image.width, min(top + _ROWS, image.height)))
        digest.update(band.tobytes())
    return digest.digest()


def _unknown(data: bytes, name: str) -> str:
    if data.startswith(_TIFF_STARTS):
        return (
            f"{name} is a TIFF that is damaged or of a kind that cannot be read (such as colours "
            "in floating point, or 16-bit grey with transparency); save it as RGB of 8 bits a "
            "channel."
        )
    return (
        f"{name} is not an image that can be read (known: {', '.join(FORMATS)}); export it as one "
        "of these."
    )


def _too_large(name: str, what: str = "") -> str:
    return f"{name} has more than {MAX_PIXELS // 1_000_000} million pixels{what}; make it smaller."
