"""What an item reads: photo, references, masks and pins, as the engine wants them."""

import hashlib
from collections.abc import Callable
from typing import TypeVar

from torch import Tensor

from schemas.work import StyleSource, WorkItem
from stylegallery import images, masks
from stylegallery.blank import blankness
from stylegallery.checks import check_format
from stylegallery.errors import BadImage, BadRouting, InputError
from stylegallery.routing import Pin, parse_pins
from stylegallery.types import Picture
from tasks import storage
from tasks.bench import Bench
from tasks.caches import Prepared, PreparedKey
from tasks.errors import AccessDenied, FileMissing, FileTooLarge, NotAFile, TaskError
from tasks.finished_files import fault
from tasks.kept_thumbnails import keep_thumbnail
from tasks.prepared_store import keep, prepared_key, recall
from tasks.retry import read_twice
from tasks.rows import reference_name
from tasks.versions import UNREADABLE

T = TypeVar("T")

_SINCE = "after the run was planned; run the same command again"


class SourceChangedError(TaskError):
    """A file is not the one that was planned."""


def read_ahead(bench: Bench, items: list[WorkItem]) -> None:
    """Begin to read the photos of items that come next, but for those known already."""
    bench.ahead([item.image_uri for item in items if _key_of(bench, item) not in bench.cache])


def content_of(bench: Bench, item: WorkItem) -> Prepared:
    """Read and prepare the item's photo.

    Raises:
        InputError: photo or label image cannot be used, or the photo is too large for the format
            of the results.
        StorageError: the store is at fault.
    """
    return _known(bench, item)


def style_of(bench: Bench, style: StyleSource, gallery_id: str) -> Prepared:
    """Read and prepare one reference.

    Raises:
        InputError: the reference cannot be used; the message names it.
        StorageError: the store is at fault.
    """
    try:
        return _known(bench, style)
    except InputError as error:
        place = reference_name(style.style_id, gallery_id)
        raise type(error)(f"{place} cannot be used: {error}") from error


def has_unprepared_references(bench: Bench, items: list[WorkItem]) -> bool:
    """Tell whether a reference of some items is not held in memory."""
    keys = {_key_of(bench, style) for item in items for style in item.styles}
    return any(key not in bench.cache for key in keys)


def protection_of(bench: Bench, item: WorkItem) -> Tensor | None:
    """Return the item's protection image, (1, 1, H, W) in [0, 1], if it has one.

    Raises:
        InputError: it cannot be used.
        StorageError: the store is at fault.
    """
    if not item.protect_uri:
        return None
    place = (item.protect_uri, item.protect_version, "protect_uri")
    return _decoded(bench, *place, masks.decode_grey)


def pins_of(bench: Bench, item: WorkItem) -> list[Pin] | None:
    """Return the item's pins, if it has a routing file.

    Raises:
        InputError: the file cannot be used.
        StorageError: the store is at fault.
    """
    if not item.routing_uri:
        return None
    ids = [style.style_id for style in item.styles]

    def decode(data: bytes, uri: str) -> list[Pin]:
        try:
            return parse_pins(data, ids)
        except BadRouting as error:
            raise BadRouting(f"{uri}: {error}") from error

    return _decoded(bench, item.routing_uri, item.routing_version, "routing_uri", decode)


def _known(bench: Bench, source: WorkItem | StyleSource) -> Prepared:
    """Return what is known of an image: held in memory, kept in the output, or computed now."""
    key = _key_of(bench, source)
    if key in bench.cache:
        bench.found["memory"] += 1
    known = bench.cache.get(key, lambda: _prepare(bench, source, key))
    _check_format(source, known.image.picture)
    return known


def _key_of(bench: Bench, source: WorkItem | StyleSource) -> PreparedKey:
    versions = (source.image_version, source.mask_version)
    return prepared_key(*versions, bench.params, bench.fingerprint)


def _prepare(bench: Bench, source: WorkItem | StyleSource, key: PreparedKey) -> Prepared:
    photo = (source.image_uri, source.image_version, "image_uri")
    picture = _decoded(bench, *photo, images.decode)
    _check_format(source, picture)  # before the work
    kept = recall(bench.output, key, picture, bench.engine.models.device)
    prepared = kept or bench.engine.prepare(picture, bench.params, _labels_of(bench, source))
    map_png = masks.encode_labels(prepared.regions)
    sha256 = hashlib.sha256(map_png).hexdigest()
    path = f"regions/{sha256}.png"
    if path not in bench.written:
        if fault(bench.output, path, sha256):
            storage.write_bytes(storage.join(bench.output, path), map_png)
        bench.written.add(path)
    keep_thumbnail(bench, picture, source.image_version)
    bench.found["prepared" if kept else "computed"] += 1
    if kept is None:
        keep(bench.output, key, prepared)
    return Prepared(prepared, path, blankness(picture))


def _check_format(source: WorkItem | StyleSource, picture: Picture) -> None:
    if isinstance(source, WorkItem):
        check_format(picture.size, source.image_format, source.image_uri)


def _labels_of(bench: Bench, source: WorkItem | StyleSource) -> Tensor | None:
    if not source.mask_uri:
        return None
    place = (source.mask_uri, source.mask_version, "mask_uri")
    return _decoded(bench, *place, masks.decode_labels)


def _decoded(
    bench: Bench, uri: str, version: str | None, column: str, decode: Callable[[bytes, str], T]
) -> T:
    """Read a file and decode it; what cannot be used is read twice before the input is blamed."""
    return read_twice(
        uri,
        lambda: _read(bench, uri, version, column),
        lambda data: decode(data, uri),
        (InputError,),
    )


def _read(bench: Bench, uri: str, version: str | None, column: str) -> bytes:
    """Read a file as it was planned: what was missing then is the input's fault, now it is not."""
    try:
        data, now = bench.read(uri)
        if version != now:  # of a store without ETags, the bytes may be damaged on their way
            data, now = bench.read(uri)
    except FileMissing as error:
        if version != storage.MISSING:
            raise SourceChangedError(f"{uri} went away {_SINCE}") from error
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
