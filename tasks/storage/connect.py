"""Choose the backend of a URI scheme, and translate the errors of all backends."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from tasks.errors import AccessDenied, DiskFull, FileMissing, StorageError
from tasks.storage.base import Backend
from tasks.storage.local import LocalDisk
from tasks.storage.redaction import redact
from tasks.storage.transient import is_disk_full, is_transient
from tasks.storage.uris import spelling_hint

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
    """Return the backend of a scheme; empty and `file` mean the local disk."""
    if kind in ("", "file"):
        return LocalDisk()
    settings = tuple(os.environ.get(name, "") for name in _S3_SETTINGS) if kind == "s3" else ()
    return _connected(kind, os.getpid(), settings)


@lru_cache(maxsize=8)
def _connected(kind: str, _process: int, settings: tuple[str, ...]) -> Backend:
    """Connect once per process: sockets and event loop do not survive a fork."""
    from tasks.storage.generic import FsspecStore
    from tasks.storage.s3 import S3Store

    return S3Store(settings[0] or settings[1]) if kind == "s3" else FsspecStore(kind)


@contextmanager
def translate_errors(uri: str, doing: str) -> Iterator[None]:
    """Turn the errors of disk and client into StorageErrors that name `uri`.

    Args:
        uri: The file or folder.
        doing: The operation for the message: "read", "write", "list" or "delete".
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        if doing == "write":
            reason = (error.strerror or type(error).__name__).lower()
            if isinstance(error, IsADirectoryError):
                reason = "a folder of that name exists; move it away"
            raise StorageError(f"{uri}: cannot write it ({reason})") from error
        raise FileMissing(f"{uri} not found{spelling_hint(uri)}") from error
    except StorageError:
        raise
    except PermissionError as error:
        if is_transient(error):  # an expired credential
            raise StorageError(f"{uri}: {redact(str(error))}", transient=True) from error
        reason = error.strerror or str(error) or "access denied"
        raise AccessDenied(f"{uri}: no permission to {doing} it ({redact(reason)})") from error
    except Exception as error:
        transient = is_transient(error)
        if not (transient or isinstance(error, OSError | BotoCoreError | ClientError)):
            raise
        reason = redact(str(error)) or type(error).__name__
        if is_disk_full(error):
            text = f"{uri}: cannot {doing} it ({reason}); free some space and run it again"
            raise DiskFull(text) from error
        raise StorageError(f"{uri}: cannot {doing} it ({reason})", transient=transient) from error
