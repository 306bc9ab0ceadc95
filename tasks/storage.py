"""Files and objects by URI, wherever they lie.

Local paths, `file://`, `s3://` and what else `tasks.access` allows mean the same everywhere; trees
look alike on all, so that `aws s3 sync` moves a whole output. All writes are atomic: a reader sees
the old bytes or the new.
"""

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from tasks import backends
from tasks.access import scheme
from tasks.backend import Backend, Stat
from tasks.errors import AlreadyThere, FileMissing, StorageError
from tasks.retry import persistently
from tasks.uris import (
    absolute,
    folder,
    join,
    local_path,
    of_local,
    parent,
    prefix,
    resolve,
    resolver,
    stem,
)

__all__ = [
    "MAX_IMAGE_BYTES",
    "MISSING",
    "absolute",
    "content_version",
    "delete",
    "exists",
    "folder",
    "join",
    "list_files",
    "list_folders",
    "list_names",
    "of_local",
    "of_sha256",
    "parent",
    "prefix",
    "read_bytes",
    "read_version",
    "resolve",
    "resolver",
    "scheme",
    "stem",
    "version",
    "versions",
    "write_bytes",
    "write_new",
]

MAX_IMAGE_BYTES = 256 * 2**20
"""Largest image file that anybody reads."""
MISSING = "missing"
"""Version of what is not there."""

_THREADS = 16

T = TypeVar("T")


def read_bytes(uri: str, max_bytes: int | None = None) -> bytes:
    """Return the bytes at `uri`.

    Raises:
        FileMissing: nothing is there.
        FileTooLarge: more than `max_bytes` are there; nothing was read.
        StorageError: it cannot be read, however often it is tried.
    """
    return read_version(uri, max_bytes)[0]


def read_version(uri: str, max_bytes: int | None = None) -> tuple[bytes, str]:
    """Return the bytes at `uri` and which they are (see :func:`version`), of one moment.

    Raises:
        As :func:`read_bytes`.
    """
    data, found = _do(uri, "read", lambda backend, path: backend.read(path, max_bytes))
    return data, _named(found) if found.etag else content_version(data)


def write_bytes(uri: str, data: bytes) -> None:
    """Put `data` at `uri`, whole or not at all; folders are made as needed.

    Raises:
        StorageError: it cannot be written, or other bytes arrived than were sent.
    """
    _do(uri, "write", lambda backend, path: _write(uri, backend, path, data, new=False))


def write_new(uri: str, data: bytes) -> bool:
    """Put `data` at `uri` as :func:`write_bytes` does, unless something is there already.

    Local disks and object stores that know conditional writes let one of several win; other
    stores overwrite.

    Returns:
        False when something was there: it is left as it was.

    Raises:
        StorageError: it cannot be written.
    """
    try:
        _do(uri, "write", lambda backend, path: _write(uri, backend, path, data, new=True))
    except AlreadyThere:
        return False
    return True


def _write(uri: str, backend: Backend, path: str, data: bytes, *, new: bool) -> None:
    if backend.write(path, data, new=new):
        return
    try:
        size = backend.stat(path).size
    except FileNotFoundError as error:  # lost, or deleted since by another who has read it
        reason = "was written and is not there; the store is at fault"
        raise StorageError(f"{uri}: it {reason}", transient=True) from error
    if size != len(data):
        raise StorageError(
            f"{uri}: {len(data)} bytes were sent but {size} arrived; the store is at fault",
            transient=True,
        )


def exists(uri: str) -> bool:
    """Tell whether a file or object is at `uri` (a folder is none).

    Raises:
        StorageError: that cannot be told.
    """
    return version(uri, content=False) != MISSING


def delete(uri: str) -> None:
    """Remove the file or object at `uri`; none there is fine.

    Raises:
        StorageError: it cannot be removed.
    """
    with suppress(FileMissing):
        _do(uri, "delete", lambda backend, path: backend.delete(path))


def list_files(place: str) -> dict[str, int]:
    """Return what lies below a folder, at any depth: relative path to bytes, sorted by path.

    Raises:
        FileMissing: its bucket is not there.
        StorageError: it cannot be listed.
    """
    found = _do(place, "list", lambda backend, path: backend.walk(path))
    return dict(sorted(found.items()))


def list_names(place: str) -> list[str]:
    """Return the names of the files directly below a folder, sorted; no folder has no files.

    Raises:
        StorageError: it cannot be listed.
    """
    return sorted(_do(place, "list", lambda backend, path: backend.names(path)))


def list_folders(prefix: str) -> list[str]:
    """Return the names of the folders directly below a folder, sorted; no folder has none.

    Raises:
        StorageError: it cannot be listed.
    """
    return sorted(_do(prefix, "list", lambda backend, path: backend.folders(path)))


def version(uri: str, *, content: bool = True) -> str:
    """Name which bytes are at `uri` without moving more of them than needed.

    Args:
        uri: A file or object.
        content: False skips the hash of a local file and tells only whether it is there.

    Returns:
        `sha256:<hex>` of a local file, `etag:<etag>-<size>` of an object, `missing` for nothing.

    Raises:
        FileTooLarge: a local file is larger than any image may be.
        StorageError: it is there but cannot be read.
    """
    try:
        found = _do(uri, "read", lambda backend, path: backend.stat(path))
        if found.etag:
            return _named(found)
        if not content:
            return "there"
        return of_sha256(_do(uri, "read", lambda b, path: b.sha256(path, MAX_IMAGE_BYTES)))
    except FileMissing:
        return MISSING


def versions(uris: Iterable[str]) -> dict[str, str | StorageError]:
    """Return the version of each of many files, or why it cannot be told.

    Objects that lie side by side are looked up by lists of a thousand, not one by one.

    Raises:
        StorageError: a store is away for the moment, so that nothing can be said.
    """
    wanted = sorted(set(uris))
    with ThreadPoolExecutor(_THREADS) as pool:
        listed = _listed(wanted)
        rest = [uri for uri in wanted if uri not in listed]
        return {**listed, **dict(zip(rest, pool.map(_version_or_why, rest), strict=True))}


def _listed(uris: list[str]) -> dict[str, str]:
    """Return the versions of those that lists tell of."""
    places = {_open(uri)[1]: uri for uri in uris if uri.startswith("s3://")}
    if not places:
        return {}
    one = next(iter(places.values()))
    try:
        found = _do(one, "list", lambda backend, _: backend.stats(list(places)))
    except StorageError as error:
        if error.transient:
            raise
        return {}  # who may not list may still read
    return {places[path]: _named(stat) for path, stat in found.items() if stat.etag}


def _version_or_why(uri: str) -> str | StorageError:
    try:
        return version(uri)
    except StorageError as error:
        if error.transient:
            raise
        return error


def content_version(data: bytes) -> str:
    """Return the version of a local file that holds `data`."""
    return of_sha256(hashlib.sha256(data).hexdigest())


def of_sha256(digits: str) -> str:
    """Return the version of a local file whose bytes have a hash."""
    return f"sha256:{digits}"


def _named(found: Stat) -> str:
    return f"etag:{found.etag}-{found.size}"


def _do(uri: str, doing: str, work: Callable[[Backend, str], T]) -> T:
    """Let the place of a URI do something, and again when a fault passes."""
    backend, path = _open(uri)

    def attempt() -> T:
        with backends.translated(uri, doing):
            return work(backend, path)

    return persistently(attempt)


def _open(uri: str) -> tuple[Backend, str]:
    place = absolute(uri)
    kind = scheme(place)
    path = local_path(place) if kind in ("", "file") else place.removeprefix("s3://")
    return backends.backend_for(kind), path
