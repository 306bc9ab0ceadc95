"""Small pictures that an actor keeps for the report, of the pictures that it has open anyway.

The report would have to read and decode each of them whole.
"""

from stylegallery import images
from stylegallery.types import Picture
from tasks import storage
from tasks.bench import Bench
from tasks.thumbnails import SIDE, thumbnail_path

_QUALITY = 90


def keep_thumbnail(bench: Bench, picture: Picture, version: str) -> None:
    """Write the small picture of an image, unless it is there.

    Args:
        bench: What the actor works with.
        picture: The image.
        version: Which bytes it is of.

    Raises:
        StorageError: the store is at fault.
    """
    place = storage.join(bench.output, thumbnail_path(version))
    if not storage.exists(place):
        storage.write_bytes(place, _small(picture))


def _small(picture: Picture) -> bytes:
    scale = min(1.0, SIDE / max(picture.size))
    height, width = (max(1, round(length * scale)) for length in picture.size)
    alpha = picture.alpha
    small = Picture(
        images.resize(picture.pixels, (height, width)),
        None if alpha is None else images.resize(alpha, (height, width)),
    )
    return images.encode(small, "webp", quality=_QUALITY)
