"""What a URI means: absolute, relative to a manifest, below a folder."""

import os
import posixpath
import re
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

from tasks.access import check_root, fenced, printable, scheme
from tasks.errors import StorageError

_PLAIN = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*", re.ASCII)
"""Relative paths in which nothing has to be looked at: no scheme, no dots alone, no odd sign."""
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*|arn:aws[a-z-]*:s3[A-Za-z0-9:_-]*")


def absolute(uri: str) -> str:
    """Return a local path as an absolute path, `file://` as that path, others without last slash.

    Raises:
        StorageError: the URI is none that may be opened (see `tasks.access`), or names no bucket.
    """
    kind = scheme(uri)
    if kind == "s3":
        bucket, _, key = uri[len("s3://") :].partition("/")
        if not uri.lower().startswith("s3://") or not _BUCKET.fullmatch(bucket):
            raise StorageError(f"{printable(uri)} names no bucket; write s3://BUCKET/KEY")
        return f"s3://{bucket}/{key}".rstrip("/")
    if kind not in ("", "file"):
        return uri.rstrip("/")
    if kind == "file":
        parts = urlsplit(uri)
        if parts.netloc not in ("", "localhost"):
            raise StorageError(f"{printable(uri)} names a host; write file:///absolute/path")
        return _local(unquote(parts.path))
    return _local(os.path.expanduser(uri))


def _local(path: str) -> str:
    place = os.path.abspath(path)
    check_root(place)
    return place


def join(base: str, *parts: str) -> str:
    """Return the URI of `parts` below the folder or prefix `base`."""
    return posixpath.join(base, *parts)


def parent(uri: str) -> str:
    """Return the folder or prefix that holds `uri`."""
    return posixpath.dirname(absolute(uri))


def resolve(uri: str, manifest_uri: str) -> str:
    """Return `uri` made absolute; a relative path starts at the folder of the manifest.

    Args:
        uri: As a manifest has it.
        manifest_uri: Where that manifest lies, absolute.

    Raises:
        StorageError: the URI is none that may be opened (see `tasks.access`).
    """
    if scheme(uri) or uri.startswith(("/", "~")) or os.path.isabs(uri):
        return absolute(uri)
    base = join(posixpath.dirname(manifest_uri), uri)
    if "://" not in manifest_uri:
        return _local(base)
    start, place = base.split("://", 1)
    host, _, key = place.partition("/")
    inside = posixpath.normpath(f"/{key}").lstrip("/")  # `..` ends at the bucket
    return absolute(f"{start}://{host}/{inside}")


def resolver(manifest_uri: str) -> Callable[[str], str]:
    """Return :func:`resolve` for one manifest, which is quick with plain relative paths.

    A million rows have what stands before them in common, and nothing in them to look at.
    """
    if fenced():  # each place is looked at, links included
        return lambda uri: resolve(uri, manifest_uri)
    base = resolve("x", manifest_uri)[:-1]
    return lambda uri: base + uri if _PLAIN.fullmatch(uri) else resolve(uri, manifest_uri)
