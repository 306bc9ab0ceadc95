"""Paths of files and folders on the local disk, on S3 or on another allowed file system.

All backends give the same folder tree, so `aws s3 sync` copies a whole output. Writes are atomic: a
reader sees either the old bytes or the new ones. Transient errors are retried.
"""

import hashlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from tasks.errors import AlreadyExists, FileMissing, StorageError
from tasks.storage import connect
from tasks.storage.base import Backend, Stat
from tasks.storage.policy import check_characters, check_root, scheme
from tasks.storage.transient import with_retries
from tasks.storage.uris import absolute, join, local_path

MAX_IMAGE_BYTES = 256 * 2**20
"""Largest image file that is read."""
MISSING = "missing"
"""Version of a file that does not exist."""

_THREADS = 16

T = TypeVar("T")


@dataclass(frozen=True)
class StoragePath:
    """The path of a file or folder: what `pathlib.Path` is for the local disk, for any store.

    A URI is parsed once. `/` gives the path of something below a folder without parsing again. A
    path holds no connection, so it can be pickled; all paths of a process share its connections.

    Attributes:
        uri: Absolute URI, which is also the text of the path in messages.
        scheme: Scheme of the URI; empty or `file` for a local path.
    """

    uri: str
    scheme: str

    @classmethod
    def parse(cls, uri: str) -> "StoragePath":
        """Return the path of a URI, or of a local path.

        Raises:
            The errors of :func:`tasks.storage.uris.absolute`.
        """
        place = absolute(uri)
        return cls(place, scheme(place))

    def __str__(self) -> str:
        return self.uri

    def __truediv__(self, part: str) -> "StoragePath":
        """Return the path of `part` below this folder; only its slashes have a meaning.

        Raises:
            StorageError: `part` contains a control character.
        """
        uri = join(self.uri, part)
        check_characters(uri, is_path=not self.scheme)
        return StoragePath(uri, self.scheme)

    def read_bytes(self, max_bytes: int | None = None) -> bytes:
        """Return the bytes of the file.

        Raises:
            FileMissing: the file does not exist.
            FileTooLarge: the file has more than `max_bytes`; nothing was read.
            StorageError: the file cannot be read, in spite of retries.
        """
        return self.read_version(max_bytes)[0]

    def read_version(self, max_bytes: int | None = None) -> tuple[bytes, str]:
        """Return the bytes of the file and their version (see :meth:`version`), from one read.

        Raises:
            The errors of :meth:`read_bytes`.
        """
        data, found = self._run("read", lambda backend, path: backend.read(path, max_bytes))
        return data, _etag_version(found) if found.etag else content_version(data)

    def write_bytes(self, data: bytes) -> None:
        """Write the file atomically, replacing an existing one; missing folders are created.

        Raises:
            StorageError: the file cannot be written, or its size differs afterwards.
        """
        self._run("write", lambda backend, path: self._write(backend, path, data, new=False))

    def write_new(self, data: bytes) -> bool:
        """Write the file like :meth:`write_bytes`, unless it exists.

        Of several concurrent writers only one succeeds, on a local disk and on object stores with
        conditional writes. Other stores check first, so two writers may both succeed.

        Returns:
            False if the file exists; it is not changed.

        Raises:
            StorageError: the file cannot be written.
        """
        try:
            self._run("write", lambda backend, path: self._write(backend, path, data, new=True))
        except AlreadyExists:
            return False
        return True

    def exists(self) -> bool:
        """Tell whether the file or object exists; false for a folder.

        Raises:
            StorageError: the store does not answer.
        """
        try:
            self._run("read", lambda backend, path: backend.stat(path))
        except FileMissing:
            return False
        return True

    def delete(self) -> None:
        """Delete the file or object, if it exists.

        Raises:
            StorageError: it cannot be deleted.
        """
        with suppress(FileMissing):
            self._run("delete", lambda backend, path: backend.delete(path))

    def list_files(self) -> dict[str, int]:
        """Return the files below this folder, at any depth: relative path to size, sorted by path.

        Raises:
            FileMissing: the bucket does not exist.
            StorageError: the folder cannot be listed.
        """
        found = self._run("list", lambda backend, path: backend.walk(path))
        return dict(sorted(found.items()))

    def list_names(self) -> list[str]:
        """Return the sorted names of the files directly in this folder; none if it does not exist.

        Raises:
            StorageError: the folder cannot be listed.
        """
        return sorted(self._run("list", lambda backend, path: backend.names(path)))

    def list_folders(self) -> list[str]:
        """Return the sorted names of the folders in this folder; none if it does not exist.

        Raises:
            StorageError: the folder cannot be listed.
        """
        return sorted(self._run("list", lambda backend, path: backend.folders(path)))

    def version(self) -> str:
        """Return the version of the file: a text that changes with its bytes.

        Objects are not downloaded.

        Returns:
            `sha256:<hex>` of a local file, `etag:<etag>-<size>` of an object, MISSING if none
            exists.

        Raises:
            FileTooLarge: a local file has more than MAX_IMAGE_BYTES.
            StorageError: the file cannot be read.
        """
        try:
            found = self._run("read", lambda backend, path: backend.stat(path))
            if found.etag:
                return _etag_version(found)
            return sha256_version(
                self._run("read", lambda backend, path: backend.sha256(path, MAX_IMAGE_BYTES))
            )
        except FileMissing:
            return MISSING

    def _write(self, backend: Backend, path: str, data: bytes, *, new: bool) -> None:
        if backend.write(path, data, new=new):
            return
        try:
            size = backend.stat(path).size
        except FileNotFoundError as error:  # lost, or deleted by another process
            raise StorageError(
                f"{self} is missing right after it was written; check the store", transient=True
            ) from error
        if size != len(data):
            raise StorageError(
                f"{self}: {len(data)} bytes were sent but {size} were stored; check the store",
                transient=True,
            )

    def _run(self, doing: str, work: Callable[[Backend, str], T]) -> T:
        """Run an operation on the path's backend, retrying transient errors."""
        path = self._backend_path()
        backend = connect.backend_for(self.scheme)

        def attempt() -> T:
            with connect.translate_errors(self.uri, doing):
                return work(backend, path)

        return with_retries(attempt)

    def _backend_path(self) -> str:
        """Return the path in the form that the backend takes.

        Raises:
            StorageError: it leads out of the allowed folders; a link may be new.
        """
        if self.scheme not in ("", "file"):
            return self.uri.removeprefix("s3://")
        path = os.path.abspath(local_path(self.uri))
        check_root(path)
        return path


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
    objects = [(StoragePath.parse(uri), uri) for uri in uris if uri.startswith("s3://")]
    if not objects:
        return {}
    uri_of = {place._backend_path(): uri for place, uri in objects}
    try:
        found = objects[0][0]._run("list", lambda backend, _: backend.stats(list(uri_of)))
    except StorageError as error:
        if error.transient:
            raise
        return {}  # permission to read does not include permission to list
    return {uri_of[path]: _etag_version(stat) for path, stat in found.items() if stat.etag}


def _version_or_error(uri: str) -> str | StorageError:
    try:
        return StoragePath.parse(uri).version()
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
