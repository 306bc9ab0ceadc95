"""Files and objects by URI: the only module that knows what a URI is.

Local paths, `file://` and `s3://` mean the same everywhere; trees look alike on both, so that
`aws s3 sync` moves a whole output. All writes are atomic: a reader sees the old bytes or the new.
"""

import hashlib
import os
import posixpath
import re
from urllib.parse import unquote, urlsplit

from tasks import backends
from tasks.errors import FileMissing, StorageError

MISSING = "missing"
"""Version of what is not there."""

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):")


def scheme(uri: str) -> str:
    """Return `s3`, `file` or, for a plain local path, empty text.

    Raises:
        StorageError: the scheme is none that we open.
    """
    found = _SCHEME.match(uri)
    name = found.group(1).lower() if found else ""
    if name not in ("", "file", "s3"):
        raise StorageError(
            f"{uri} starts with {name}:, which is not supported; use a local path, file:// or s3://"
        )
    return name


def absolute(uri: str) -> str:
    """Return a local path as an absolute path, `file://` as that path, `s3://` without last slash.

    Raises:
        StorageError: the scheme is none that we open, or an s3 URI names no bucket.
    """
    kind = scheme(uri)
    if kind == "s3":
        bucket, _, key = uri[len("s3://") :].partition("/")
        if not uri.lower().startswith("s3://") or not bucket:
            raise StorageError(f"{uri} names no bucket; write s3://BUCKET/KEY")
        return f"s3://{bucket}/{key}".rstrip("/")
    if kind == "file":
        parts = urlsplit(uri)
        if parts.netloc not in ("", "localhost"):
            raise StorageError(f"{uri} names a host; write file:///absolute/path")
        return os.path.abspath(unquote(parts.path))
    return os.path.abspath(os.path.expanduser(uri))


def join(base: str, *parts: str) -> str:
    """Return the URI of `parts` below the folder or prefix `base`."""
    return posixpath.join(base, *parts)


def parent(uri: str) -> str:
    """Return the folder or prefix that holds `uri`."""
    return posixpath.dirname(absolute(uri))


def resolve(uri: str, manifest_uri: str) -> str:
    """Return `uri` made absolute; a relative path starts at the folder of the manifest."""
    if scheme(uri) or uri.startswith(("/", "~")) or os.path.isabs(uri):
        return absolute(uri)
    base = join(posixpath.dirname(manifest_uri), uri)
    if scheme(base) == "s3":
        bucket, _, key = base[len("s3://") :].partition("/")
        return f"s3://{bucket}/{posixpath.normpath(key)}"
    return os.path.abspath(base)


def read_bytes(uri: str, max_bytes: int | None = None) -> bytes:
    """Return the bytes at `uri`.

    Raises:
        FileMissing: nothing is there.
        FileTooLarge: more than `max_bytes` are there; nothing was read.
        StorageError: it cannot be read.
    """
    backend, path = _open(uri)
    with backends.translated(uri, "read"):
        if max_bytes is not None:
            backends.check_size(uri, backend.stat(path).size, max_bytes)
        return backend.read(path)


def write_bytes(uri: str, data: bytes) -> None:
    """Put `data` at `uri`, whole or not at all; folders are made as needed.

    Raises:
        StorageError: it cannot be written, or fewer bytes arrived than were sent.
    """
    backend, path = _open(uri)
    with backends.translated(uri, "write"):
        backend.write(path, data)
        if (size := backend.stat(path).size) != len(data):
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
    backend, path = _open(uri)
    with backends.translated(uri, "delete"):
        try:
            backend.delete(path)
        except FileNotFoundError:
            return


def list_files(prefix: str) -> dict[str, int]:
    """Return what lies below a folder, at any depth: relative path to bytes, sorted by path.

    Raises:
        StorageError: it cannot be listed.
    """
    backend, path = _open(prefix)
    with backends.translated(prefix, "list"):
        return dict(sorted(backend.walk(path).items()))


def list_names(prefix: str) -> list[str]:
    """Return the names of the files directly below a folder, sorted; no folder has no files.

    Raises:
        StorageError: it cannot be listed.
    """
    backend, path = _open(prefix)
    with backends.translated(prefix, "list"):
        return sorted(backend.names(path))


def version(uri: str, *, content: bool = True) -> str:
    """Name which bytes are at `uri` without moving more of them than needed.

    Args:
        uri: A file or object.
        content: False skips the hash of a local file and tells only whether it is there.

    Returns:
        `sha256:<hex>` of a local file, `etag:<etag>-<size>` of an object, `missing` for nothing.

    Raises:
        StorageError: it is there but cannot be read.
    """
    backend, path = _open(uri)
    try:
        with backends.translated(uri, "read"):
            found = backend.stat(path)
            if found.etag:
                return f"etag:{found.etag}-{found.size}"
            return content_version(backend.read(path)) if content else "there"
    except FileMissing:
        return MISSING


def content_version(data: bytes) -> str:
    """Return the version of a local file that holds `data`."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _open(uri: str) -> tuple[backends.Backend, str]:
    place = absolute(uri)
    return backends.backend_for(scheme(place)), place.removeprefix("s3://")
