"""Which place a scheme names, and how the errors of all of them become ours."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from tasks.backend import Backend
from tasks.errors import AccessDenied, DiskFull, FileMissing, StorageError
from tasks.faults import is_disk_full, is_transient
from tasks.local_disk import LocalDisk
from tasks.redact import redacted
from tasks.uris import spelling_hint

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


def backend_for(kind: str) -> Backend:
    """Return the place that a scheme names; empty and `file` are the local disk."""
    if kind in ("", "file"):
        return LocalDisk()
    settings = tuple(os.environ.get(name, "") for name in _S3_SETTINGS) if kind == "s3" else ()
    return _connected(kind, os.getpid(), settings)


@lru_cache(maxsize=8)
def _connected(kind: str, _process: int, settings: tuple[str, ...]) -> Backend:
    """Connect once per process: neither sockets nor the event loop survive a fork."""
    from tasks.object_store import ObjectStore
    from tasks.other_store import OtherStore

    return ObjectStore(settings[0] or settings[1]) if kind == "s3" else OtherStore(kind)


@contextmanager
def translated(uri: str, doing: str) -> Iterator[None]:
    """Turn the errors of disk and client into StorageErrors that name `uri`."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        if doing == "write":
            reason = (error.strerror or type(error).__name__).lower()
            if isinstance(error, IsADirectoryError):
                reason = "a folder of that name lies there; move it away"
            raise StorageError(f"{uri}: cannot write it ({reason})") from error
        raise FileMissing(f"{uri} not found{spelling_hint(uri)}") from error
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
        if is_disk_full(error):
            text = f"{uri}: cannot {doing} it ({reason}); free some space and run it again"
            raise DiskFull(text) from error
        raise StorageError(f"{uri}: cannot {doing} it ({reason})", transient=passing) from error
