"""The two places where bytes lie: the local disk and S3 (through s3fs, never pyarrow's writer)."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from tasks.errors import AccessDenied, FileMissing, FileTooLarge, StorageError
from tasks.faults import is_transient

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
    """What a place must do; paths carry no scheme. Errors are OSErrors or botocore's."""

    def stat(self, path: str) -> Stat:
        """Describe one file; FileNotFoundError for none and for folders."""

    def read(self, path: str) -> bytes:
        """Return all bytes."""

    def write(self, path: str, data: bytes) -> None:
        """Replace all bytes at once."""

    def delete(self, path: str) -> None:
        """Remove one file."""

    def names(self, path: str) -> list[str]:
        """Names of the files directly below a folder."""

    def walk(self, path: str) -> dict[str, int]:
        """Relative path to size of all files below a folder."""


class LocalDisk:
    """Files on this machine; names that start with a dot are ours and never listed."""

    def stat(self, path: str) -> Stat:
        """Describe one file."""
        if os.path.isdir(path):
            raise FileNotFoundError(path)
        return Stat(os.stat(path).st_size)

    def read(self, path: str) -> bytes:
        """Return all bytes."""
        return Path(path).read_bytes()

    def write(self, path: str, data: bytes) -> None:
        """Write beside the target, sync, rename over it."""
        folder = os.path.dirname(path)
        os.makedirs(folder, exist_ok=True)
        draft = os.path.join(folder, f".{secrets.token_hex(8)}.tmp")
        try:
            with open(draft, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise

    def delete(self, path: str) -> None:
        """Remove one file."""
        os.unlink(path)

    def names(self, path: str) -> list[str]:
        """Names of the files directly below a folder."""
        try:
            with os.scandir(path) as entries:
                return [e.name for e in entries if e.is_file() and not e.name.startswith(".")]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def walk(self, path: str) -> dict[str, int]:
        """Relative path to size of all files below a folder."""
        found = {}
        for folder, below, names in os.walk(path):
            below[:] = [name for name in below if not name.startswith(".")]
            for name in names:
                file = os.path.join(folder, name)
                if not name.startswith(".") and os.path.isfile(file):
                    found[Path(file).relative_to(path).as_posix()] = os.path.getsize(file)
        return found


class ObjectStore:
    """Objects behind an s3fs file system; one PUT each, so they appear whole."""

    def __init__(self, fs: Any) -> None:
        self._fs = fs

    def stat(self, path: str) -> Stat:
        """Describe one object."""
        info = self._fs.info(path)
        if info["type"] != "file":
            raise FileNotFoundError(path)
        return Stat(int(info["size"]), str(info.get("ETag", "")).strip('"'))

    def read(self, path: str) -> bytes:
        """Return all bytes."""
        return bytes(self._fs.cat_file(path))

    def write(self, path: str, data: bytes) -> None:
        """Send a single PUT up to the largest size that S3 takes that way."""
        self._fs.pipe_file(path, data, chunksize=5 * 2**30)

    def delete(self, path: str) -> None:
        """Remove one object."""
        self._fs.rm_file(path)

    def names(self, path: str) -> list[str]:
        """Names of the objects directly below a prefix."""
        try:
            found = self._fs.ls(path, detail=True, refresh=True)
        except FileNotFoundError:
            return []
        files = [entry for entry in found if entry["type"] == "file" and entry["name"] != path]
        return [entry["name"].rsplit("/", 1)[-1] for entry in files]

    def walk(self, path: str) -> dict[str, int]:
        """Relative path to size of all objects below a prefix."""
        try:
            found = self._fs.find(path, detail=True)
        except FileNotFoundError:
            return {}
        base = path.rstrip("/") + "/"
        return {
            name.removeprefix(base): int(info["size"])
            for name, info in found.items()
            if name.startswith(base)
        }


def backend_for(kind: str) -> Backend:
    """Return the place that a scheme (`s3`, or empty for the local disk) names."""
    if kind != "s3":
        return LocalDisk()
    settings = tuple(os.environ.get(name, "") for name in _S3_SETTINGS)
    return _object_store(os.getpid(), settings)


@lru_cache(maxsize=4)
def _object_store(_process: int, settings: tuple[str, ...]) -> ObjectStore:
    """Connect once per process: neither sockets nor the event loop survive a fork."""
    import s3fs

    endpoint = settings[0] or settings[1]
    config: dict[str, Any] = {
        "retries": {"mode": "standard", "max_attempts": 8},
        "connect_timeout": 10,
        "read_timeout": 60,
    }
    if endpoint:
        config["s3"] = {"addressing_style": "path"}
        # botocore's newer default checksums are refused, or stored as data, by many servers.
        os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
        os.environ.setdefault("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")
    fs = s3fs.S3FileSystem(
        endpoint_url=endpoint or None,
        config_kwargs=config,
        skip_instance_cache=True,
        use_listings_cache=False,
    )
    fs.retries = 2  # of a body cut short; botocore has retried the rest by then
    return ObjectStore(fs)


def check_size(uri: str, size: int, limit: int) -> None:
    """Refuse a file larger than `limit` bytes.

    Raises:
        FileTooLarge: it is.
    """
    if size > limit:
        raise FileTooLarge(
            f"{uri} has {size / 2**20:.0f} MB, more than the limit of {limit / 2**20:.0f} MB"
        )


@contextmanager
def translated(uri: str, doing: str) -> Iterator[None]:
    """Turn the errors of disk and client into StorageErrors that name `uri`."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise FileMissing(f"{uri} not found") from error
    except PermissionError as error:
        reason = error.strerror or str(error) or "access denied"
        raise AccessDenied(f"{uri}: no permission to {doing} it ({reason})") from error
    except (OSError, BotoCoreError, ClientError) as error:
        reason = str(error) or type(error).__name__
        raise StorageError(
            f"{uri}: cannot {doing} it ({reason})", transient=is_transient(error)
        ) from error
