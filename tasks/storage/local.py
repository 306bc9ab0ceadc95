"""Backend for the local disk."""

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from tasks.errors import AlreadyExists
from tasks.storage.base import Stat, check_size, is_draft
from tasks.storage.leftovers import is_abandoned, mark_in_use
from tasks.storage.regular_file import check_regular, not_regular_error, open_regular

_CHUNK_BYTES = 2**20
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES}
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class LocalDisk:
    """Local files. Listings leave out drafts."""

    def stat(self, path: str) -> Stat:
        """Return the size of a file."""
        found = os.stat(path)
        if stat.S_ISDIR(found.st_mode):
            raise FileNotFoundError(path)
        check_regular(path, found)
        return Stat(found.st_size)

    def stats(self, paths: list[str]) -> dict[str, Stat]:
        """Return nothing: the version of a local file is the hash of its bytes."""
        return {}

    def read(self, path: str, limit: int | None) -> tuple[bytes, Stat]:
        """Return all bytes and their number."""
        data = b"".join(_read_chunks(path, limit, whole=True))
        return data, Stat(len(data))

    def sha256(self, path: str, limit: int) -> str:
        """Return the SHA-256 in hex digits; reads the file in chunks."""
        digest = hashlib.sha256()
        for piece in _read_chunks(path, limit):
            digest.update(piece)
        return digest.hexdigest()

    def write(self, path: str, data: bytes, *, new: bool = False) -> bool:
        """Write a draft, sync it, rename it and sync the folder, so a power cut loses nothing."""
        folder = os.path.dirname(path)
        _make_folder(folder)
        draft = os.path.join(folder, f".{secrets.token_hex(8)}.tmp")
        try:
            with open(draft, "xb") as file:
                mark_in_use(file.fileno())
                _remove_abandoned_drafts(folder, os.getpid())
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if new:
                _link(draft, path)
            else:
                os.replace(draft, path)
            _sync_folder(folder)
        finally:
            Path(draft).unlink(missing_ok=True)
        return True

    def delete(self, path: str) -> None:
        """Delete one file."""
        os.unlink(path)

    def names(self, path: str) -> list[str]:
        """Return the names of the files directly in a folder."""
        try:
            with os.scandir(path) as entries:
                return [e.name for e in entries if e.is_file() and not is_draft(e.name)]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def folders(self, path: str) -> list[str]:
        """Return the names of the folders directly in a folder."""
        try:
            with os.scandir(path) as entries:
                return [e.name for e in entries if e.is_dir()]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def walk(self, path: str) -> dict[str, int]:
        """Return relative path to size of all files below a folder."""
        found = {}
        for folder, _, names in os.walk(path):
            for name in names:
                file = os.path.join(folder, name)
                if not is_draft(name) and os.path.isfile(file):
                    found[Path(file).relative_to(path).as_posix()] = os.path.getsize(file)
        return found


def _read_chunks(path: str, limit: int | None, *, whole: bool = False) -> Iterator[bytes]:
    """Yield a file's bytes in chunks; with `whole`, the first chunk has the file's size."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        check_size(path, size, limit)
        count = 0
        try:
            piece = file.read(size if whole and size else _CHUNK_BYTES)
            while piece:
                # More bytes than the size may follow: files grow, and those of /proc have size 0.
                count += len(piece)
                check_size(path, count, limit)
                yield piece
                piece = file.read(_CHUNK_BYTES)
        except OSError as error:
            if size:
                raise
            raise not_regular_error(path) from error  # such as /proc/PID/mem


@lru_cache(maxsize=256)
def _remove_abandoned_drafts(folder: str, _process: int) -> None:
    """Delete the drafts of killed writers in a folder; runs once per process and folder.

    The files of a killed writer are written again, so their folders are visited without a scan of
    the whole output.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        now = os.stat(folder).st_mtime  # the file system's clock: a draft was just created
        for entry in entries:
            if is_draft(entry.name) and is_abandoned(entry.path, now):
                os.unlink(entry.path)


def _make_folder(folder: str) -> None:
    """Create a folder and its parents, synced to disk."""
    if os.path.isdir(folder):
        return
    above = os.path.dirname(folder)
    _make_folder(above)
    with suppress(FileExistsError):  # created by another process
        os.mkdir(folder)
    _sync_folder(above)


def _sync_folder(folder: str) -> None:
    """Sync the names in a folder to disk, if its file system supports that."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise


def _link(draft: str, path: str) -> None:
    """Give a draft its final name; AlreadyExists if a file of that name exists."""
    try:
        os.link(draft, path)
    except OSError as error:
        # Without hard links (FAT, some network disks) another writer may come between check and
        # rename.
        if error.errno == errno.EEXIST or (error.errno in _NO_LINKS and os.path.exists(path)):
            raise AlreadyExists(path) from error
        if error.errno not in _NO_LINKS:
            raise
        os.replace(draft, path)
