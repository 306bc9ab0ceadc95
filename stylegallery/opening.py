"""Image files opened: of a known format, within the limits, and what their decoders raise."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from PIL import Image

from stylegallery.errors import BadImage
from stylegallery.wording import one_line

FORMATS: Final = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
MAX_PIXELS = 80_000_000
DEEP_MODES: Final = {"I;16": 65535.0, "I;16B": 65535.0, "I;16L": 65535.0, "I": 65535.0, "F": 1.0}
"""Grey of more than 8 bits: what is white in it."""


def open_image(data: bytes, name: str) -> Image.Image:
    """Open an image file of a known format within the size limit; pixels are not read yet.

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
        raise BadImage(
            f"{name} is not an image that can be read (known: {', '.join(FORMATS)}); export it as "
            "one of these."
        ) from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise BadImage(_too_large(name, f" ({width}x{height})"))
    return image


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


def _too_large(name: str, what: str = "") -> str:
    return f"{name} has more than {MAX_PIXELS // 1_000_000} million pixels{what}; make it smaller."
