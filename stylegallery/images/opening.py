"""Open image files: known formats within the size limit. Imports no torch."""

import hashlib
import io
from typing import Final

from PIL import Image

from stylegallery.errors import BadImage
from stylegallery.images.headers import add_to_info
from stylegallery.images.reading import as_bad_image, draft_size

FORMATS: Final = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
MAX_PIXELS = 80_000_000
_EOI, _SOS = b"\xff\xd9", b"\xff\xda"
_ROWS = 256
_PROBE = b"\x5a" * 64
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def open_image(data: bytes, name: str) -> Image.Image:
    """Open an image file of a known format within the size limit, without reading its pixels.

    A JPEG that lacks only its end marker gets one.

    Raises:
        BadImage: the file is not an image or has too many pixels.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except MemoryError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImage(_too_large(name)) from error
    except Exception as error:  # parsers raise any exception on broken data
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


def pixels_to_hold(data: bytes, side: int) -> int:
    """Return how many pixels memory holds at once while an image file is shrunk.

    Reads only the header; returns 0 for a file that is no image.

    Args:
        data: The file's bytes.
        side: Longer side in pixels to which the image is shrunk.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except MemoryError:
        raise
    except Exception:  # decoding the file says what is wrong with it
        return 0
    # A progressive JPEG, or one without its end marker, is decoded at full size.
    if data.endswith(_EOI) and "progressive" not in image.info:
        draft_size(image, side)
    return image.width * image.height


def check_still(image: Image.Image, name: str) -> None:
    """Refuse an animated image.

    Raises:
        BadImage: the image is animated.
    """
    with as_bad_image(name):
        animated = getattr(image, "is_animated", False)  # n_frames would read the whole file
    if animated and image.format not in ("MPO", "TIFF"):  # MPO: a JPEG variant of some phones
        raise BadImage(f"{name} is animated; save one frame as a still image.")


def _lacks_only_its_end(data: bytes) -> bool:
    """Whether a JPEG has all its pixels but no end marker.

    Decoders fill missing pixels from whatever follows. If none is missing, the decoded pixels do
    not depend on the bytes appended to the file.
    """
    if data.rfind(_EOI) > data.rfind(_SOS):
        return False
    try:
        first, other = (_hash_of_pixels(data + more + _EOI) for more in (b"", _PROBE))
    except MemoryError:
        raise
    except Exception:  # decoders raise any exception on broken data
        return False
    return first == other


def _hash_of_pixels(data: bytes) -> bytes:
    """Hash the pixels of a JPEG in bands of rows, so that memory holds them only once."""
    image = Image.open(io.BytesIO(data), formats=("JPEG",))
    digest = hashlib.sha256()
    for top in range(0, image.height, _ROWS):
        band = image.crop((0, top, image.width, min(top + _ROWS, image.height)))
        digest.update(band.tobytes())
    return digest.digest()


def _unknown(data: bytes, name: str) -> str:
    if data.startswith(_TIFF_STARTS):
        return (
            f"{name} is a TIFF that is damaged or of a kind that cannot be read (such as colors "
            "in floating point, or 16-bit gray with transparency); save it as RGB of 8 bits a "
            "channel."
        )
    return (
        f"{name} is not an image that can be read (known: {', '.join(FORMATS)}); export it as one "
        "of these."
    )


def _too_large(name: str, what: str = "") -> str:
    return f"{name} has more than {MAX_PIXELS // 1_000_000} million pixels{what}; make it smaller."
