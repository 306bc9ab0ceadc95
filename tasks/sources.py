"""What an item reads: photo, references, masks and pins, as the engine wants them."""

import hashlib
from dataclasses import dataclass, field

from torch import Tensor

from schemas.params import StyleParams
from schemas.work import StyleSource, WorkItem
from stylegallery import StyleGallery, images, masks
from stylegallery.errors import BadImage, BadRouting, InputError
from stylegallery.routing import Pin, parse_pins
from tasks import storage
from tasks.caches import Prepared, PreparedCache, PreparedKey
from tasks.errors import AccessDenied, FileMissing, FileTooLarge, TaskError

MAX_BYTES = 256 * 2**20
"""Largest image file that is read."""


class SourceChangedError(TaskError):
    """A file is not the one that was planned."""


@dataclass
class Bench:
    """What an actor works with.

    Attributes:
        engine: Loaded once.
        output: Absolute URI of the output root.
        params: Of the run.
        cache: Prepared images.
        written: Paths of region maps known to stand.
        fingerprint: Of the engine, for the assets' notes.
    """

    engine: StyleGallery
    output: str
    params: StyleParams
    cache: PreparedCache = field(default_factory=PreparedCache)
    written: set[str] = field(default_factory=set)
    fingerprint: str = ""


def content_of(bench: Bench, item: WorkItem) -> Prepared:
    """Read and prepare the item's photo.

    Raises:
        InputError: photo or label image cannot be used.
        StorageError: the store is at fault.
    """
    key = PreparedKey(item.image_version, item.mask_version, bench.params)
    return bench.cache.get(
        key,
        lambda: _prepare(
            bench, item.image_uri, item.image_version, item.mask_uri, item.mask_version
        ),
    )


def style_of(bench: Bench, style: StyleSource, gallery_id: str) -> Prepared:
    """Read and prepare one reference.

    Raises:
        InputError: the reference cannot be used; the message names it.
        StorageError: the store is at fault.
    """
    key = PreparedKey(style.image_version, style.mask_version, bench.params)
    try:
        return bench.cache.get(
            key,
            lambda: _prepare(
                bench, style.image_uri, style.image_version, style.mask_uri, style.mask_version
            ),
        )
    except InputError as error:
        place = f"reference {style.style_id!r} of gallery {gallery_id!r}"
        raise type(error)(f"{place} cannot be used: {error}") from error


def protection_of(item: WorkItem) -> Tensor | None:
    """Return the item's protection image, (1, 1, H, W) in [0, 1], if it has one.

    Raises:
        InputError: it cannot be used.
        StorageError: the store is at fault.
    """
    if not item.protect_uri:
        return None
    data = _read(item.protect_uri, item.protect_version, "protect_uri")
    return masks.decode_grey(data, item.protect_uri)


def pins_of(item: WorkItem) -> list[Pin] | None:
    """Return the item's pins, if it has a routing file.

    Raises:
        InputError: the file cannot be used.
        StorageError: the store is at fault.
    """
    if not item.routing_uri:
        return None
    data = _read(item.routing_uri, item.routing_version, "routing_uri")
    try:
        return parse_pins(data, [style.style_id for style in item.styles])
    except BadRouting as error:
        raise BadRouting(f"{item.routing_uri}: {error}") from error


def _prepare(
    bench: Bench, uri: str, version: str, mask_uri: str | None, mask_version: str | None
) -> Prepared:
    picture = images.decode(_read(uri, version, "image_uri"), uri)
    labels = None
    if mask_uri:
        labels = masks.decode_labels(_read(mask_uri, mask_version, "mask_uri"), mask_uri)
    prepared = bench.engine.prepare(picture, bench.params, labels)
    map_png = masks.encode_labels(prepared.regions)
    path = f"regions/{hashlib.sha256(map_png).hexdigest()}.png"
    if path not in bench.written:
        place = storage.join(bench.output, path)
        if not storage.exists(place):
            storage.write_bytes(place, map_png)
        bench.written.add(path)
    return Prepared(prepared, path)


def _read(uri: str, version: str | None, column: str) -> bytes:
    try:
        data = storage.read_bytes(uri, MAX_BYTES)
        now = storage.content_version(data)
        if version is not None and not version.startswith("sha256:"):
            now = storage.version(uri)
    except FileMissing as error:
        raise BadImage(f"{uri} not found; check {column} in the manifest.") from error
    except (AccessDenied, FileTooLarge) as error:
        raise BadImage(f"{error}; check {column} in the manifest.") from error
    if version != now:
        raise SourceChangedError(
            f"{uri} changed after the run was planned; run the same command again"
        )
    return data
