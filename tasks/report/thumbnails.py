"""Thumbnails for the report: photos, and region maps as transparent overlays."""

import base64
import io
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from PIL import Image

from stylegallery.errors import BadImage
from stylegallery.images.opening import open_image, pixels_to_hold
from stylegallery.images.reading import read_srgb, to_eight_bit
from stylegallery.palette import NEUTRAL, Color, Labels, edges, enlarge
from stylegallery.regions.region_png import decode_region_map
from tasks import storage
from tasks.errors import FileTooLarge, StorageError
from tasks.items.thumbnails import SIDE, thumbnail_path

Fetch = Callable[[str, int], bytes]
"""Reads a URI, absolute or below the output root, up to a maximum number of bytes."""
Photos = dict[str, str]
"""URI of an image to the version of its bytes."""

SIZES: Final = ((SIDE, 78), (512, 75), (400, 70), (304, 62), (232, 52), (184, 45))
"""Longer side in pixels and WebP quality of the thumbnails, best first."""
_PAGE_BYTES, _ITEM_BYTES = 950_000, 9_500
_ITEM_MARKUP_BYTES = 5_000
_SAMPLES, _THREADS = 4, 8
_LARGE_BYTES, _LARGE_PIXELS = 2**24, 4_000_000
"""Images above these limits are read and decoded one at a time."""
_OVERLAY_SIDE = 176
_FILL_ALPHA, _EDGE_ALPHA = 150, 255


@dataclass(frozen=True)
class Thumbnail:
    """An image as a data URI.

    Attributes:
        uri: `data:` URI.
        width: Width in pixels.
        height: Height in pixels.
    """

    uri: str
    width: int
    height: int

    @property
    def data(self) -> bytes:
        """Bytes of the image file."""
        return base64.b64decode(self.uri.partition(",")[2])


@dataclass(frozen=True)
class SharedImage:
    """An image that several cards show: embedded once in the page and referenced by its id."""

    id: str
    picture: Thumbnail


def thumbnail(data: bytes, side: int, quality: int) -> Thumbnail:
    """Shrink an image file to `side` pixels on its longer side, as WebP in sRGB.

    Colors are converted as the engine converts them; a large JPEG is decoded at reduced size.

    Raises:
        BadImage: the bytes cannot be decoded.
    """
    planes = read_srgb(open_image(data, "the picture"), "the picture", side=side)
    small = planes.color
    if small.mode == "F":
        small = to_eight_bit(small).convert("RGB")
    if planes.alpha:
        small.putalpha(planes.alpha)
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=quality, method=4, icc_profile=b"")  # browsers assume sRGB
    return Thumbnail(_data_uri("image/webp", buffer), small.width, small.height)


def overlay(
    labels: Labels, colors: Mapping[int, Color], outlined: frozenset[int] = frozenset()
) -> Thumbnail:
    """Draw a region map as a transparent PNG with darker region edges.

    Args:
        labels: (H, W) region labels.
        colors: Color of each region; missing regions are gray.
        outlined: Regions drawn as an outline only.
    """
    scale = _OVERLAY_SIDE / max(labels.shape)
    height, width = (max(1, round(side * scale)) for side in labels.shape)
    fine = enlarge(labels, (height, width))
    edge = edges(fine)
    used = np.unique(fine)
    # Palette entries 2k and 2k + 1 are the fill and the edge of the k-th region in the map.
    index = np.searchsorted(used, fine).astype(np.uint8) * 2 + edge
    palette, alpha = bytearray(), bytearray()
    for region in used.tolist():
        color = colors.get(region, NEUTRAL)
        palette += bytes((*color, *(round(c * 0.7) for c in color)))
        alpha += bytes((0 if region in outlined else _FILL_ALPHA, _EDGE_ALPHA))
    image = Image.fromarray(index, "P")
    image.putpalette(bytes(palette))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True, transparency=bytes(alpha))
    return Thumbnail(_data_uri("image/png", buffer), image.width, image.height)


@dataclass
class ThumbnailStore:
    """The images of a report; each is fetched and shrunk once.

    Attributes:
        fetch: Reads the bytes of a URI.
        size: Longer side in pixels and quality of the thumbnails.
        shared: Images that several cards show, by name.
    """

    fetch: Fetch
    size: tuple[int, int] = SIZES[0]
    shared: dict[str, SharedImage] = field(default_factory=dict)
    _photos: dict[str, Thumbnail | None] = field(default_factory=dict)
    _labels: dict[str, Labels | None] = field(default_factory=dict)
    # One thread, not a lock: each thread keeps the memory that its largest image needed.
    _large_thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    def load(self, photos: Photos, maps: set[str]) -> None:
        """Fetch all images and region maps that the cards need, in parallel."""
        with ThreadPoolExecutor(_THREADS) as threads:
            thumbnails = threads.map(self._load_photo, photos, photos.values())
            self._photos = dict(zip(photos, thumbnails, strict=True))
            self._labels = dict(zip(maps, threads.map(self._load_map, maps), strict=True))

    def choose_size(self, photos: Photos, items: int) -> None:
        """Choose the largest thumbnails with which the page stays within its byte budget."""
        budget = max(_PAGE_BYTES, _ITEM_BYTES * items) - _ITEM_MARKUP_BYTES * items
        sample = sorted(photos)[:: max(1, len(photos) // _SAMPLES)][:_SAMPLES]
        with ThreadPoolExecutor(_THREADS) as threads:
            found = threads.map(self._load_photo, sample, (photos[uri] for uri in sample))
            largest = [one for one in found if one]
        for self.size in SIZES:
            shrunk = [thumbnail(one.data, *self.size) for one in largest]
            mean = sum(len(one.uri) for one in shrunk) / max(len(shrunk), 1)
            if mean * len(photos) <= budget:
                break

    def photo(self, uri: str) -> Thumbnail | None:
        """Return a photo that `load` fetched, or None if it could not be read."""
        return self._photos.get(uri)

    def labels(self, uri: str | None) -> Labels | None:
        """Return a region map that `load` fetched, or None if it could not be read."""
        return self._labels.get(uri) if uri else None

    def share(self, name: str, picture: Thumbnail | None) -> SharedImage | None:
        """Add an image to the page once; return its handle."""
        if picture is None:
            return None
        if name not in self.shared:
            self.shared[name] = SharedImage(f"p{len(self.shared)}", picture)
        return self.shared[name]

    def _load_photo(self, uri: str, version: str) -> Thumbnail | None:
        """Shrink the thumbnail that an actor wrote, or the image itself if there is none."""
        for place in (thumbnail_path(version), uri):
            with suppress(BadImage, StorageError):
                return self._shrink(place)
        return None

    def _shrink(self, uri: str) -> Thumbnail:
        try:
            data = self.fetch(uri, _LARGE_BYTES)
        except FileTooLarge:
            return self._large_thread.submit(self._shrink_large, uri).result()
        if pixels_to_hold(data, self.size[0]) > _LARGE_PIXELS:
            return self._large_thread.submit(thumbnail, data, *self.size).result()
        return thumbnail(data, *self.size)

    def _shrink_large(self, uri: str) -> Thumbnail:
        return thumbnail(self.fetch(uri, storage.MAX_IMAGE_BYTES), *self.size)

    def _load_map(self, uri: str) -> Labels | None:
        try:
            return decode_region_map(self.fetch(uri, storage.MAX_IMAGE_BYTES))
        except (BadImage, StorageError):
            return None


def _data_uri(kind: str, buffer: io.BytesIO) -> str:
    return f"data:{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
