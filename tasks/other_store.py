"""Whatever else fsspec opens and the operator allows: GCS, Azure, FTP and the like."""

import functools
import hashlib
import re
import secrets
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from tasks.backend import Stat, check_size, is_draft
from tasks.errors import AlreadyThere, StorageError
from tasks.faults import is_transient

P = ParamSpec("P")
T = TypeVar("T")

_QUERY = re.compile("[?#]")
_WHOLE_OR_NOTHING = {"memory", "gs", "gcs", "az", "abfs", "abfss", "oss"}
"""Schemes whose files appear only when they are complete."""


def _plain(work: Callable[P, T]) -> Callable[P, T]:
    """Turn a protocol's own errors into OSErrors, which everybody understands."""

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


class OtherStore:
    """Files behind any fsspec file system; its settings come from fsspec's own configuration.

    That is FSSPEC_<SCHEME>_<KEY> in the environment, or files below ~/.config/fsspec.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def _at(self, uri: str) -> tuple[Any, str]:
        from fsspec import get_filesystem_class

        try:
            kind = get_filesystem_class(self._kind)
        except ImportError as error:  # fsspec names the package
            raise OSError(str(error)) from error
        # Not `url_to_fs`, which takes `::` in a name for a chain of file systems. Some file systems
        # cut off what they take for a query or fragment, and all of them a slash at the end.
        head = _QUERY.split(uri, maxsplit=1)[0]
        tail = uri.removeprefix(head)
        fs = kind(**kind._get_kwargs_from_urls(head), use_listings_cache=False)
        if not tail:
            return fs, str(kind._strip_protocol(uri))
        return fs, str(kind._strip_protocol(f"{head}x"))[:-1] + tail

    @_plain
    def stat(self, path: str) -> Stat:
        """Describe one file."""
        fs, place = self._at(path)
        info = fs.info(place)
        if info["type"] != "file":
            raise FileNotFoundError(path)
        return Stat(int(info["size"]), _etag(info))

    def stats(self, paths: list[str]) -> dict[str, Stat]:
        """Know nothing in advance."""
        return {}

    @_plain
    def read(self, path: str, limit: int | None) -> tuple[bytes, Stat]:
        """Return all bytes and what they are."""
        fs, place = self._at(path)
        before = self.stat(path)
        check_size(path, before.size, limit)
        data = bytes(fs.cat_file(place))
        if len(data) != before.size:
            raise ConnectionError(f"{len(data)} of {before.size} bytes arrived")
        return data, before

    def sha256(self, path: str, limit: int) -> str:
        """Return the hash of all bytes as hex digits."""
        return hashlib.sha256(self.read(path, limit)[0]).hexdigest()

    @_plain
    def write(self, path: str, data: bytes, *, new: bool = False) -> bool:
        """Write beside the target and rename, where files would grow in sight of readers."""
        fs, place = self._at(path)
        if new and fs.exists(place):  # between look and write another may win
            raise AlreadyThere(path)
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
            except Exception:  # some protocols rename onto free names alone
                fs.rm_file(place)
                fs.mv(draft, place)
        except BaseException:
            if fs.exists(draft):
                fs.rm_file(draft)
            raise
        return False

    @_plain
    def delete(self, path: str) -> None:
        """Remove one file."""
        fs, place = self._at(path)
        if not fs.exists(place):
            raise FileNotFoundError(path)
        fs.rm_file(place)

    @_plain
    def names(self, path: str) -> list[str]:
        """Names of the files directly below a folder."""
        fs, place = self._at(path)
        try:
            found = fs.ls(place, detail=True)
        except FileNotFoundError:
            return []
        names = [e["name"].rstrip("/").rsplit("/", 1)[-1] for e in found if e["type"] == "file"]
        return [name for name in names if not is_draft(name)]

    @_plain
    def folders(self, path: str) -> list[str]:
        """Names of the folders directly below a folder."""
        fs, place = self._at(path)
        try:
            found = fs.ls(place, detail=True)
        except FileNotFoundError:
            return []
        return [e["name"].rstrip("/").rsplit("/", 1)[-1] for e in found if e["type"] != "file"]

    @_plain
    def walk(self, path: str) -> dict[str, int]:
        """Relative path to size of all files below a folder."""
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
    """Return what a store says of a file's version, if it says anything that can be relied on."""
    for name in ("ETag", "etag", "md5Hash", "generation"):
        value = info.get(name)
        if isinstance(value, str | int) and value:
            return str(value).strip('"')
    return ""
