"""Local files opened for reading: regular ones alone, and none outside the operator's folders.

A manifest may name a device without an end or a pipe that nobody writes to, and between a look and
the opening another may put a link there. So what is opened is looked at, not what a path names.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO

from tasks.access import fenced, printable, root_and_place
from tasks.errors import NotAFile

_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
"""Linux opens folders that may be passed through but not listed; others ask for both."""
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@contextmanager
def opened(path: str) -> Iterator[FileIO]:
    """Open a file for the length of the block.

    Raises:
        NotAFile: it is a device, a pipe or the like.
        OSError: it cannot be opened.
        StorageError: it lies outside the operator's folders.
    """
    handle = _below_root(path) if fenced() else _opened(path, path)
    with FileIO(handle) as file:
        check_regular(path, os.fstat(handle))
        yield file


def check_regular(path: str, found: os.stat_result) -> None:
    """Refuse what is no regular file.

    Raises:
        NotAFile: it is a device, a pipe or the like.
    """
    if not stat.S_ISREG(found.st_mode):
        raise no_file(path)


def no_file(path: str) -> NotAFile:
    """Return the refusal of what is no regular file."""
    return NotAFile(f"{printable(path)} is a device, a pipe or the like; give a regular file")


def _below_root(path: str) -> int:
    """Open a file step by step from the operator's folder, where no step may be a link."""
    root, place = root_and_place(path)
    *above, name = place.split(os.sep)
    folder = os.open(root, _FOLDER)
    try:
        for step in above:
            inner = os.open(step, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        return _opened(path, name, folder)
    finally:
        os.close(folder)


def _opened(path: str, name: str, folder: int | None = None) -> int:
    """Open a file below an open folder or, without one, wherever its path leads."""
    found = os.stat(name, dir_fd=folder, follow_symlinks=folder is None)
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(path)
    check_regular(path, found)  # before the opening: that of a device may do something
    return os.open(name, _FILE | (0 if folder is None else os.O_NOFOLLOW), dir_fd=folder)
