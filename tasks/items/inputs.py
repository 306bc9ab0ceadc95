"""Load the inputs of an item for the engine: photo, references, masks and pins."""

import hashlib
from collections.abc import Callable
from typing import TypeVar

from torch import Tensor

from schemas.work import StyleSource, WorkItem
from stylegallery.errors import BadImage, BadRouting, InputError
from stylegallery.images import codec
from stylegallery.images.blank import blankness
from stylegallery.images.codec import check_format
from stylegallery.images.picture import Picture
from stylegallery.matching.correspondence import Pin, parse_pins
from stylegallery.regions import label_images
from stylegallery.regions.region_png import encode_region_map
from tasks.errors import AccessDenied, FileMissing, FileTooLarge, NotAFile, TaskError
from tasks.items.context import ActorContext
from tasks.items.outcome import reference_name
from tasks.items.prepared import (
    Prepared,
    PreparedKey,
    load_prepared,
    prepared_key,
    save_prepared,
)
from tasks.items.thumbnails import save_thumbnail
from tasks.planning.versions import UNREADABLE
from tasks.records.finished_files import file_problem
from tasks.storage import MISSING
from tasks.storage.transient import read_and_decode

T = TypeVar("T")

_SINCE = "after the run was planned; run the same command again"


class SourceChangedError(TaskError):
    """An input file differs from the one that was planned."""


def read_ahead(context: ActorContext, items: list[WorkItem]) -> None:
    """Start to read the photos of the next items, except those in the cache."""
    context.prefetch(
        [item.image_uri for item in items if _key_of(context, item) not in context.cache]
    )


def load_content(context: ActorContext, item: WorkItem) -> Prepared:
    """Load and prepare the item's photo.

    Raises:
        InputError: photo or label image cannot be used, or the photo is too large for the format
            of the results.
        StorageError: the store cannot be reached.
    """
    return _load(context, item)


def load_style(context: ActorContext, style: StyleSource, gallery_id: str) -> Prepared:
    """Load and prepare one reference.

    Raises:
        InputError: the reference cannot be used; the message names it.
        StorageError: the store cannot be reached.
    """
    try:
        return _load(context, style)
    except InputError as error:
        name = reference_name(style.style_id, gallery_id)
        raise type(error)(f"{name} cannot be used: {error}") from error


def has_unprepared_references(context: ActorContext, items: list[WorkItem]) -> bool:
    """Return whether a reference of some items is not in the cache."""
    keys = {_key_of(context, style) for item in items for style in item.styles}
    return any(key not in context.cache for key in keys)


def load_protection(context: ActorContext, item: WorkItem) -> Tensor | None:
    """Return the item's protection mask, (1, 1, H, W) in [0, 1], or None if it has none.

    Raises:
        InputError: the mask cannot be used.
        StorageError: the store cannot be reached.
    """
    if not item.protect_uri:
        return None
    source = (item.protect_uri, item.protect_version, "protect_uri")
    return _read_and_decode(context, *source, label_images.decode_protection)


def load_pins(context: ActorContext, item: WorkItem) -> list[Pin] | None:
    """Return the pinned matches of the item's routing file, or None if it has none.

    Raises:
        InputError: the file cannot be used.
        StorageError: the store cannot be reached.
    """
    if not item.routing_uri:
        return None
    ids = [style.style_id for style in item.styles]

    def decode(data: bytes, uri: str) -> list[Pin]:
        try:
            return parse_pins(data, ids)
        except BadRouting as error:
            raise BadRouting(f"{uri}: {error}") from error

    source = (item.routing_uri, item.routing_version, "routing_uri")
    return _read_and_decode(context, *source, decode)


def _load(context: ActorContext, source: WorkItem | StyleSource) -> Prepared:
    """Return a prepared image from the cache, from `prepared/`, or computed now."""
    key = _key_of(context, source)
    if key in context.cache:
        context.found["memory"] += 1
    prepared = context.cache.get(key, lambda: _prepare(context, source, key))
    _check_format(source, prepared.image.picture)
    return prepared


def _key_of(context: ActorContext, source: WorkItem | StyleSource) -> PreparedKey:
    versions = (source.image_version, source.mask_version)
    return prepared_key(*versions, context.params_of(source), context.fingerprint)


def _prepare(context: ActorContext, source: WorkItem | StyleSource, key: PreparedKey) -> Prepared:
    """Read and prepare an image; write its region map, thumbnail and entry in `prepared/`."""
    photo = (source.image_uri, source.image_version, "image_uri")
    picture = _read_and_decode(context, *photo, codec.decode)
    _check_format(source, picture)  # before the expensive preparation
    stored = load_prepared(context.output, key, picture, context.engine.models.device)
    params = context.params_of(source)
    image = stored or context.engine.prepare(picture, params, _labels_of(context, source))
    map_png = encode_region_map(image.regions)
    sha256 = hashlib.sha256(map_png).hexdigest()
    path = f"regions/{sha256}.png"
    if path not in context.written:
        map_file = context.output / path
        if file_problem(map_file, sha256):
            map_file.write_bytes(map_png)
        context.written.add(path)
    save_thumbnail(context, picture, source.image_version)
    context.found["prepared" if stored else "computed"] += 1
    if stored is None:
        save_prepared(context.output, key, image)
    return Prepared(image, path, blankness(picture))


def _check_format(source: WorkItem | StyleSource, picture: Picture) -> None:
    if isinstance(source, WorkItem):
        check_format(picture.size, source.image_format, source.image_uri)


def _labels_of(context: ActorContext, source: WorkItem | StyleSource) -> Tensor | None:
    if not source.mask_uri:
        return None
    mask = (source.mask_uri, source.mask_version, "mask_uri")
    return _read_and_decode(context, *mask, label_images.decode_labels)


def _read_and_decode(
    context: ActorContext,
    uri: str,
    version: str | None,
    column: str,
    decode: Callable[[bytes, str], T],
) -> T:
    """Read and decode a file; if decoding fails, read it once more before blaming the input."""
    return read_and_decode(
        uri,
        lambda: _read(context, uri, version, column),
        lambda data: decode(data, uri),
        (InputError,),
    )


def _read(context: ActorContext, uri: str, version: str | None, column: str) -> bytes:
    """Read a file in its planned version.

    Raises:
        BadImage: the file was missing or unreadable when the run was planned, or is no image file.
        SourceChangedError: the file changed or vanished since then.
        StorageError: the store cannot be reached.
    """
    try:
        data, now = context.read(uri)
        if version != now:  # without ETags the version is a hash, and transfer may damage bytes
            data, now = context.read(uri)
    except FileMissing as error:
        if version != MISSING:
            raise SourceChangedError(f"{uri} was deleted {_SINCE}") from error
        raise BadImage(f"{error}; check {column} in the manifest.") from error
    except AccessDenied as error:
        if version != UNREADABLE:
            raise
        raise BadImage(f"{error}; check {column} in the manifest.") from error
    except (FileTooLarge, NotAFile) as error:
        raise BadImage(f"{error}; check {column} in the manifest.") from error
    if version != now:
        raise SourceChangedError(f"{uri} changed {_SINCE}")
    return data
