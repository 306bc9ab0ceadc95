"""Open local files for reading: only regular files, only inside the allowed folders.

A manifest may name an endless device, or a pipe without a writer. A path may also change between a
check and the opening, so the open file is checked, not the path.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO

from tasks.errors import NotAFile
from tasks.storage.policy import printable, root_and_place, roots_restricted

_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
"""O_PATH (Linux) needs only permission to enter a folder; O_RDONLY also to list it."""
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@contextmanager
def open_regular(path: str) -> Iterator[FileIO]:
    """Open a file for the length of the block.

    Raises:
        NotAFile: it is a device, a pipe or a socket.
        OSError: it cannot be opened.
        StorageError: it lies outside the allowed folders.
    """
    handle = _below_root(path) if roots_restricted() else _open_below(path, path)
    with FileIO(handle) as file:
        check_regular(path, os.fstat(handle))
        yield file


def check_regular(path: str, found: os.stat_result) -> None:
    """Check that a stat result is that of a regular file.

    Raises:
        NotAFile: it is a device, a pipe or a socket.
    """
    if not stat.S_ISREG(found.st_mode):
        raise not_regular_error(path)


def not_regular_error(path: str) -> NotAFile:
    """Return the error for a path that does not name a regular file."""
    return NotAFile(f"{printable(path)} is a device, a pipe or a socket; give a regular file")


def _below_root(path: str) -> int:
    """Open a file folder by folder from its allowed root, refusing links."""
    root, place = root_and_place(path)
    *above, name = place.split(os.sep)
    folder = os.open(root, _FOLDER)
    try:
        for step in above:
            inner = os.open(step, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        return _open_below(path, name, folder)
    finally:
        os.close(folder)


def _open_below(path: str, name: str, folder: int | None = None) -> int:
    """Open a file relative to the open `folder` without following links, else by its path."""
    found = os.stat(name, dir_fd=folder, follow_symlinks=folder is None)
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(path)
    check_regular(path, found)  # first, because opening a device may have side effects
    return os.open(name, _FILE | (0 if folder is None else os.O_NOFOLLOW), dir_fd=folder)
