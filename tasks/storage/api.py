"""Read, write and list files by URI: local paths, `file://`, `s3://` and other allowed schemes.

All backends give the same folder tree, so `aws s3 sync` copies a whole output. Writes are atomic: a
reader sees either the old bytes or the new ones. Transient errors are retried.
"""

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from tasks.errors import AlreadyExists, FileMissing, StorageError
from tasks.storage import connect
from tasks.storage.base import Backend, Stat
from tasks.storage.policy import scheme
from tasks.storage.transient import with_retries
from tasks.storage.uris import (
    absolute,
    local_path,
)

MAX_IMAGE_BYTES = 256 * 2**20
"""Largest image file that is read."""
MISSING = "missing"
"""Version of a file that does not exist."""

_THREADS = 16

T = TypeVar("T")


def read_bytes(uri: str, max_bytes: int | None = None) -> bytes:
    """Return the bytes at `uri`.

    Raises:
        FileMissing: the file does not exist.
        FileTooLarge: the file has more than `max_bytes`; nothing was read.
        StorageError: the file cannot be read, in spite of retries.
    """
    return read_version(uri, max_bytes)[0]


def read_version(uri: str, max_bytes: int | None = None) -> tuple[bytes, str]:
    """Return the bytes at `uri` and their version (see :func:`version`), from one read.

    Raises:
        The errors of :func:`read_bytes`.
    """
    data, found = _run(uri, "read", lambda backend, path: backend.read(path, max_bytes))
    return data, _etag_version(found) if found.etag else content_version(data)


def write_bytes(uri: str, data: bytes) -> None:
    """Write `data` to `uri` atomically, replacing an existing file; missing folders are created.

    Raises:
        StorageError: the file cannot be written, or its size differs afterwards.
    """
    _run(uri, "write", lambda backend, path: _write(uri, backend, path, data, new=False))


def write_new(uri: str, data: bytes) -> bool:
    """Write `data` to `uri` like :func:`write_bytes`, unless the file exists.

    Of several concurrent writers only one succeeds, on a local disk and on object stores with
    conditional writes. Other stores check first, so two writers may both succeed.

    Returns:
        False if the file exists; it is not changed.

    Raises:
        StorageError: the file cannot be written.
    """
    try:
        _run(uri, "write", lambda backend, path: _write(uri, backend, path, data, new=True))
    except AlreadyExists:
        return False
    return True


def _write(uri: str, backend: Backend, path: str, data: bytes, *, new: bool) -> None:
    if backend.write(path, data, new=new):
        return
    try:
        size = backend.stat(path).size
    except FileNotFoundError as error:  # lost, or deleted by another process
        raise StorageError(
            f"{uri} is missing right after it was written; check the store", transient=True
        ) from error
    if size != len(data):
        raise StorageError(
            f"{uri}: {len(data)} bytes were sent but {size} were stored; check the store",
            transient=True,
        )


def exists(uri: str) -> bool:
    """Tell whether a file or object exists at `uri`; false for a folder.

    Raises:
        StorageError: the store does not answer.
    """
    return version(uri, content=False) != MISSING


def delete(uri: str) -> None:
    """Delete the file or object at `uri`, if it exists.

    Raises:
        StorageError: it cannot be deleted.
    """
    with suppress(FileMissing):
        _run(uri, "delete", lambda backend, path: backend.delete(path))


def list_files(place: str) -> dict[str, int]:
    """Return the files below a folder, at any depth: relative path to size, sorted by path.

    Raises:
        FileMissing: the bucket does not exist.
        StorageError: the folder cannot be listed.
    """
    found = _run(place, "list", lambda backend, path: backend.walk(path))
    return dict(sorted(found.items()))


def list_names(place: str) -> list[str]:
    """Return the sorted names of the files directly in a folder; none if it does not exist.

    Raises:
        StorageError: the folder cannot be listed.
    """
    return sorted(_run(place, "list", lambda backend, path: backend.names(path)))


def list_folders(prefix: str) -> list[str]:
    """Return the sorted names of the folders directly in a folder; none if it does not exist.

    Raises:
        StorageError: the folder cannot be listed.
    """
    return sorted(_run(prefix, "list", lambda backend, path: backend.folders(path)))


def version(uri: str, *, content: bool = True) -> str:
    """Return the version of a file: a text that changes with its bytes. Objects are not downloaded.

    Args:
        uri: A file or object.
        content: False returns "there" for an existing local file instead of reading it.

    Returns:
        `sha256:<hex>` of a local file, `etag:<etag>-<size>` of an object, MISSING if none exists.

    Raises:
        FileTooLarge: a local file has more than MAX_IMAGE_BYTES.
        StorageError: the file cannot be read.
    """
    try:
        found = _run(uri, "read", lambda backend, path: backend.stat(path))
        if found.etag:
            return _etag_version(found)
        if not content:
            return "there"
        return sha256_version(_run(uri, "read", lambda b, path: b.sha256(path, MAX_IMAGE_BYTES)))
    except FileMissing:
        return MISSING


def versions(uris: Iterable[str]) -> dict[str, str | StorageError]:
    """Return the version of each of many files, or the error for a file that cannot be read.

    Objects with a common prefix are looked up in listings of a thousand, not one by one.

    Raises:
        StorageError: a store is unavailable.
    """
    wanted = sorted(set(uris))
    with ThreadPoolExecutor(_THREADS) as pool:
        listed = _listed_versions(wanted)
        rest = [uri for uri in wanted if uri not in listed]
        return {**listed, **dict(zip(rest, pool.map(_version_or_error, rest), strict=True))}


def _listed_versions(uris: list[str]) -> dict[str, str]:
    """Return the versions of the S3 objects that appear in listings."""
    places = {_backend_and_path(uri)[1]: uri for uri in uris if uri.startswith("s3://")}
    if not places:
        return {}
    one = next(iter(places.values()))
    try:
        found = _run(one, "list", lambda backend, _: backend.stats(list(places)))
    except StorageError as error:
        if error.transient:
            raise
        return {}  # permission to read does not include permission to list
    return {places[path]: _etag_version(stat) for path, stat in found.items() if stat.etag}


def _version_or_error(uri: str) -> str | StorageError:
    try:
        return version(uri)
    except StorageError as error:
        if error.transient:
            raise
        return error


def content_version(data: bytes) -> str:
    """Return the version of a local file with the bytes `data`."""
    return sha256_version(hashlib.sha256(data).hexdigest())


def sha256_version(digits: str) -> str:
    """Return the version of a local file with this SHA-256, in hex digits."""
    return f"sha256:{digits}"


def _etag_version(found: Stat) -> str:
    return f"etag:{found.etag}-{found.size}"


def _run(uri: str, doing: str, work: Callable[[Backend, str], T]) -> T:
    """Run an operation on the URI's backend, retrying transient errors."""
    backend, path = _backend_and_path(uri)

    def attempt() -> T:
        with connect.translate_errors(uri, doing):
            return work(backend, path)

    return with_retries(attempt)


def _backend_and_path(uri: str) -> tuple[Backend, str]:
    place = absolute(uri)
    kind = scheme(place)
    path = local_path(place) if kind in ("", "file") else place.removeprefix("s3://")
    return connect.backend_for(kind), path
