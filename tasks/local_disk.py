"""Files on this machine."""

import errno
import os
import secrets
from pathlib import Path

from tasks.backend import Stat, check_size, is_draft
from tasks.errors import AlreadyThere

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class LocalDisk:
    """Files; drafts of ours are never listed."""

    def stat(self, path: str) -> Stat:
        """Describe one file."""
        if os.path.isdir(path):
            raise FileNotFoundError(path)
        return Stat(os.stat(path).st_size)

    def stats(self, paths: list[str]) -> dict[str, Stat]:
        """Know nothing in advance: only its bytes tell the version of a local file."""
        return {}

    def read(self, path: str, limit: int | None) -> tuple[bytes, Stat]:
        """Return all bytes and what they are."""
        with open(path, "rb") as file:
            check_size(path, os.fstat(file.fileno()).st_size, limit)
            data = file.read()
        return data, Stat(len(data))

    def write(self, path: str, data: bytes, *, new: bool = False) -> bool:
        """Write beside the target, sync, and rename: all bytes are then there."""
        folder = os.path.dirname(path)
        os.makedirs(folder, exist_ok=True)
        draft = os.path.join(folder, f".{secrets.token_hex(8)}.tmp")
        try:
            with open(draft, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if new:
                _link(draft, path)
            else:
                os.replace(draft, path)
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
