"""Thumbnails that actors write for the report while they hold the decoded images.

Without them the report would have to read and decode every image in full.
"""

import hashlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # the report needs the path alone, and no torch
    from stylegallery.images.picture import Picture
    from tasks.items.context import ActorContext

SIDE: Final = 640
"""Longer side of a thumbnail in pixels."""
_QUALITY = 90


def thumbnail_path(version: str) -> str:
    """Return the path, below the output root, of an image's thumbnail.

    Args:
        version: Version of the image's bytes: see :meth:`tasks.storage.StoragePath.version`.
    """
    return f"thumbnails/{hashlib.sha256(version.encode()).hexdigest()}.webp"


def save_thumbnail(context: "ActorContext", picture: "Picture", version: str) -> None:
    """Write the thumbnail of an image, unless it exists.

    Args:
        context: The actor's context.
        picture: The decoded image.
        version: Version of the image's bytes.

    Raises:
        StorageError: the store cannot be reached.
    """
    file = context.output / thumbnail_path(version)
    if not file.exists():
        file.write_bytes(_encode(picture))


def _encode(picture: "Picture") -> bytes:
    from stylegallery.images import codec
    from stylegallery.images.picture import Picture

    scale = min(1.0, SIDE / max(picture.size))
    height, width = (max(1, round(length * scale)) for length in picture.size)
    alpha = picture.alpha
    small = Picture(
        codec.resize(picture.pixels, (height, width)),
        None if alpha is None else codec.resize(alpha, (height, width)),
    )
    return codec.encode(small, "webp", quality=_QUALITY)
