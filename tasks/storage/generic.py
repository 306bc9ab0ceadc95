"""Backend for other fsspec file systems that the operator allows: GCS, Azure, FTP and the like."""

import functools
import hashlib
import re
import secrets
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from tasks.errors import AlreadyExists, StorageError
from tasks.storage.base import Stat, check_size, is_draft
from tasks.storage.transient import is_transient

P = ParamSpec("P")
T = TypeVar("T")

_QUERY = re.compile("[?#]")
_WHOLE_OR_NOTHING = {"memory", "gs", "gcs", "az", "abfs", "abfss", "oss"}
"""Schemes whose files become visible only when they are complete."""


def _as_os_errors(work: Callable[P, T]) -> Callable[P, T]:
    """Turn a protocol's own permanent errors into OSErrors."""

    @functools.wraps(work)
    def do(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return work(*args, **kwargs)
        except (OSError, StorageError):
            raise
        except Exception as error:
            if is_transient(error):
                raise
            raise OSError(f"{type(error).__name__}: {error}") from error

    return do


class FsspecStore:
    """Files of any fsspec file system.

    Its settings come from fsspec's configuration: FSSPEC_<SCHEME>_<KEY> in the environment, or
    files below ~/.config/fsspec.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def _at(self, uri: str) -> tuple[Any, str]:
        from fsspec import get_filesystem_class

        try:
            kind = get_filesystem_class(self._kind)
        except ImportError as error:  # fsspec names the package
            raise OSError(str(error)) from error
        # Not `url_to_fs`, which reads `::` in a name as a chain of file systems. `_strip_protocol`
        # of some file systems removes a query or fragment, and of all of them a final slash.
        head = _QUERY.split(uri, maxsplit=1)[0]
        tail = uri.removeprefix(head)
        fs = kind(**kind._get_kwargs_from_urls(head), use_listings_cache=False)
        if not tail:
            return fs, str(kind._strip_protocol(uri))
        return fs, str(kind._strip_protocol(f"{head}x"))[:-1] + tail

    @_as_os_errors
    def stat(self, path: str) -> Stat:
        """Return size and ETag of a file."""
        fs, place = self._at(path)
        info = fs.info(place)
        if info["type"] != "file":
            raise FileNotFoundError(path)
        return Stat(int(info["size"]), _etag(info))

    def stats(self, paths: list[str]) -> dict[str, Stat]:
        """Return nothing: fsspec has no cheap way to list many files."""
        return {}

    @_as_os_errors
    def read(self, path: str, limit: int | None) -> tuple[bytes, Stat]:
        """Return all bytes with size and ETag."""
        fs, place = self._at(path)
        before = self.stat(path)
        check_size(path, before.size, limit)
        data = bytes(fs.cat_file(place))
        if len(data) != before.size:
            raise ConnectionError(f"{len(data)} of {before.size} bytes arrived")
        return data, before

    def sha256(self, path: str, limit: int) -> str:
        """Return the SHA-256 in hex digits."""
        return hashlib.sha256(self.read(path, limit)[0]).hexdigest()

    @_as_os_errors
    def write(self, path: str, data: bytes, *, new: bool = False) -> bool:
        """Write a file; where readers could see half a file, write a draft and rename it."""
        fs, place = self._at(path)
        if new and fs.exists(place):  # not atomic: another writer may come between
            raise AlreadyExists(path)
        folder, _, name = place.rpartition("/")
        fs.makedirs(folder, exist_ok=True)
        if self._kind in _WHOLE_OR_NOTHING:
            fs.pipe_file(place, data)
            return False
        draft = f"{folder}/.{name[:32]}{secrets.token_hex(8)}.tmp"
        try:
            fs.pipe_file(draft, data)
            try:
                fs.mv(draft, place)
            except Exception:  # some protocols do not rename onto an existing file
                fs.rm_file(place)
                fs.mv(draft, place)
        except BaseException:
            if fs.exists(draft):
                fs.rm_file(draft)
            raise
        return False

    @_as_os_errors
    def delete(self, path: str) -> None:
        """Delete one file."""
        fs, place = self._at(path)
        if not fs.exists(place):
            raise FileNotFoundError(path)
        fs.rm_file(place)

    @_as_os_errors
    def names(self, path: str) -> list[str]:
        """Return the names of the files directly in a folder."""
        fs, place = self._at(path)
        try:
            found = fs.ls(place, detail=True)
        except FileNotFoundError:
            return []
        names = [e["name"].rstrip("/").rsplit("/", 1)[-1] for e in found if e["type"] == "file"]
        return [name for name in names if not is_draft(name)]

    @_as_os_errors
    def folders(self, path: str) -> list[str]:
        """Return the names of the folders directly in a folder."""
        fs, place = self._at(path)
        try:
            found = fs.ls(place, detail=True)
        except FileNotFoundError:
            return []
        return [e["name"].rstrip("/").rsplit("/", 1)[-1] for e in found if e["type"] != "file"]

    @_as_os_errors
    def walk(self, path: str) -> dict[str, int]:
        """Return relative path to size of all files below a folder."""
        fs, place = self._at(path)
        try:
            found = fs.find(place, detail=True)
        except FileNotFoundError:
            return {}
        base = place.rstrip("/") + "/"
        return {
            name.removeprefix(base): int(info["size"])
            for name, info in found.items()
            if name.startswith(base) and not is_draft(name.rpartition("/")[2])
        }


def _etag(info: dict[str, Any]) -> str:
    """Return the ETag, MD5 or generation of a file; empty if the store gives none."""
    for name in ("ETag", "etag", "md5Hash", "generation"):
        value = info.get(name)
        if isinstance(value, str | int) and value:
            return str(value).strip('"')
    return ""
