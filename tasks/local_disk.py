"""Files on this machine."""

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from tasks.backend import Stat, check_size, is_draft
from tasks.errors import AlreadyThere
from tasks.leftovers import hold, is_left
from tasks.regular_file import check_regular, no_file, opened

_PIECE = 2**20
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES}
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class LocalDisk:
    """Files; drafts of ours are never listed."""

    def stat(self, path: str) -> Stat:
        """Describe one file."""
        found = os.stat(path)
        if stat.S_ISDIR(found.st_mode):
            raise FileNotFoundError(path)
        check_regular(path, found)
        return Stat(found.st_size)

    def stats(self, paths: list[str]) -> dict[str, Stat]:
        """Know nothing in advance: only its bytes tell the version of a local file."""
        return {}

    def read(self, path: str, limit: int | None) -> tuple[bytes, Stat]:
        """Return all bytes and what they are."""
        data = b"".join(_pieces(path, limit, whole=True))
        return data, Stat(len(data))

    def sha256(self, path: str, limit: int) -> str:
        """Return the hash of all bytes as hex digits, which never are in memory together."""
        digest = hashlib.sha256()
        for piece in _pieces(path, limit):
            digest.update(piece)
        return digest.hexdigest()

    def write(self, path: str, data: bytes, *, new: bool = False) -> bool:
        """Write beside the target, sync, rename, and sync the folder: a power cut loses nothing."""
        folder = os.path.dirname(path)
        _make_folder(folder)
        draft = os.path.join(folder, f".{secrets.token_hex(8)}.tmp")
        try:
            with open(draft, "xb") as file:
                hold(file.fileno())
                _sweep(folder, os.getpid())
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
        """Remove one file."""
        os.unlink(path)

    def names(self, path: str) -> list[str]:
        """Names of the files directly below a folder."""
        try:
            with os.scandir(path) as entries:
                return [e.name for e in entries if e.is_file() and not is_draft(e.name)]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def folders(self, path: str) -> list[str]:
        """Names of the folders directly below a folder."""
        try:
            with os.scandir(path) as entries:
                return [e.name for e in entries if e.is_dir()]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def walk(self, path: str) -> dict[str, int]:
        """Relative path to size of all files below a folder."""
        found = {}
        for folder, _, names in os.walk(path):
            for name in names:
                file = os.path.join(folder, name)
                if not is_draft(name) and os.path.isfile(file):
                    found[Path(file).relative_to(path).as_posix()] = os.path.getsize(file)
        return found


def _pieces(path: str, limit: int | None, *, whole: bool = False) -> Iterator[bytes]:
    """Yield a file's bytes; with `whole`, those that it had when it was opened as one."""
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        check_size(path, size, limit)
        count = 0
        try:
            piece = file.read(size if whole and size else _PIECE)
            while piece:
                # More may come than the size tells: files grow, and some of the system have none.
                count += len(piece)
                check_size(path, count, limit)
                yield piece
                piece = file.read(_PIECE)
        except OSError as error:
            if size:
                raise
            raise no_file(path) from error  # such as the memory of a process


@lru_cache(maxsize=256)
def _sweep(folder: str, _process: int) -> None:
    """Remove drafts that killed writers left in a folder, when a process first writes there.

    A picture whose writer was killed is made again, and so is what else belongs there: no walk
    through a whole output is needed to find what was left.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        now = os.stat(folder).st_mtime  # by the clock of the file system: a draft was just made
        for entry in entries:
            if is_draft(entry.name) and is_left(entry.path, now):
                os.unlink(entry.path)


def _make_folder(folder: str) -> None:
    """Make a folder and those above it, and have each stay through a power cut."""
    if os.path.isdir(folder):
        return
    above = os.path.dirname(folder)
    _make_folder(above)
    with suppress(FileExistsError):  # another was faster
        os.mkdir(folder)
    _sync_folder(above)


def _sync_folder(folder: str) -> None:
    """Have the names in a folder reach the disk, where its file system can do that."""
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
    """Give a file a second name, unless that is taken already."""
    try:
        os.link(draft, path)
    except OSError as error:
        # No hard links here (FAT, some network disks): between look and rename another may win.
        if error.errno == errno.EEXIST or (error.errno in _NO_LINKS and os.path.exists(path)):
            raise AlreadyThere(path) from error
        if error.errno not in _NO_LINKS:
            raise
        os.replace(draft, path)
