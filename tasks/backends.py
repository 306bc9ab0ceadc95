"""The places where bytes lie, behind one interface; how their errors become ours."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from tasks.errors import AccessDenied, FileMissing, FileTooLarge, StorageError
from tasks.faults import is_transient
from tasks.redact import redacted

_S3_SETTINGS = (
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
)


@dataclass(frozen=True)
class Stat:
    """Size in bytes and, on an object store, the ETag."""

    size: int
    etag: str = ""


class Backend(Protocol):
    """What a place must do; paths are absolute URIs without `s3://`.

    Errors are OSErrors or botocore's.
    """

    def stat(self, path: str) -> Stat:
        """Describe one file; FileNotFoundError for none and for folders."""

    def stats(self, paths: list[str]) -> dict[str, Stat]:
        """Describe those of many files of which more is known cheaply than by asking for each."""

    def read(self, path: str, limit: int | None) -> tuple[bytes, Stat]:
        """Return all bytes and what they are; FileTooLarge above the limit."""

    def write(self, path: str, data: bytes, *, new: bool = False) -> bool:
        """Replace all bytes at once; with `new`, AlreadyThere where something is.

        Returns:
            True when the place has compared a checksum of what arrived.
        """

    def delete(self, path: str) -> None:
        """Remove one file."""

    def names(self, path: str) -> list[str]:
        """Names of the files directly below a folder."""

    def walk(self, path: str) -> dict[str, int]:
        """Relative path to size of all files below a folder."""


def backend_for(kind: str) -> Backend:
    """Return the place that a scheme names; empty is the local disk."""
    from tasks.local_disk import LocalDisk

    if not kind:
        return LocalDisk()
    settings = tuple(os.environ.get(name, "") for name in _S3_SETTINGS) if kind == "s3" else ()
    return _connected(kind, os.getpid(), settings)


@lru_cache(maxsize=8)
def _connected(kind: str, _process: int, settings: tuple[str, ...]) -> Backend:
    """Connect once per process: neither sockets nor the event loop survive a fork."""
    from tasks.object_store import ObjectStore
    from tasks.other_store import OtherStore

    return ObjectStore(settings[0] or settings[1]) if kind == "s3" else OtherStore(kind)


def check_size(path: str, size: int, limit: int | None) -> None:
    """Refuse a file larger than `limit` bytes.

    Raises:
        FileTooLarge: it is.
    """
    if limit is not None and size > limit:
        raise FileTooLarge(
            f"{path} has {size / 2**20:.0f} MB, more than the limit of {limit / 2**20:.0f} MB"
        )


@contextmanager
def translated(uri: str, doing: str) -> Iterator[None]:
    """Turn the errors of disk and client into StorageErrors that name `uri`."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise FileMissing(f"{uri} not found") from error
    except StorageError:
        raise
    except PermissionError as error:
        if is_transient(error):  # a credential that has just run out
            raise StorageError(f"{uri}: {redacted(str(error))}", transient=True) from error
        reason = error.strerror or str(error) or "access denied"
        raise AccessDenied(f"{uri}: no permission to {doing} it ({redacted(reason)})") from error
    except Exception as error:
        passing = is_transient(error)
        if not (passing or isinstance(error, OSError | BotoCoreError | ClientError)):
            raise
        reason = redacted(str(error)) or type(error).__name__
        raise StorageError(f"{uri}: cannot {doing} it ({reason})", transient=passing) from error
