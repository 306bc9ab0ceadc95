"""What a URI means: absolute, relative to a manifest, below a folder."""

import os
import posixpath
import re
from functools import lru_cache
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
    if manifest_uri.startswith(("/", "s3://")) and _PLAIN.fullmatch(uri) and not fenced():
        return _base(manifest_uri) + uri
    return _resolved(uri, manifest_uri)


@lru_cache(64)
def _base(manifest_uri: str) -> str:
    """Return what stands before a plain relative path, which a million rows have in common."""
    return _resolved("x", manifest_uri)[:-1]


def _resolved(uri: str, manifest_uri: str) -> str:
    if scheme(uri) or uri.startswith(("/", "~")) or os.path.isabs(uri):
        return absolute(uri)
    base = join(posixpath.dirname(manifest_uri), uri)
    if "://" not in manifest_uri:
        return _local(base)
    start, place = base.split("://", 1)
    host, _, key = place.partition("/")
    inside = posixpath.normpath(f"/{key}").lstrip("/")  # `..` ends at the bucket
    return absolute(f"{start}://{host}/{inside}")
