"""Files and folders that a process holds while it works on them, and those that a dead one left.

The lock of the system goes with its process, however that ends; so it tells the living from the
dead on this machine and, where the file system carries locks, on all machines.
"""

import fcntl
import os
import stat
from contextlib import suppress

_YOUNG, _OLD = 60.0, 86_400.0
"""Seconds: a younger one may not be held yet, an older one without locks is taken for left."""


def hold(handle: int) -> None:
    """Hold an open file or folder until it is closed, where its file system knows locks."""
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_left(path: str, now: float) -> bool:
    """Tell whether nobody holds a file or folder any more.

    Args:
        path: What :func:`hold` is called on as soon as it is made.
        now: Time by the clock that gave it its own.
    """
    try:
        found = os.lstat(path)
        age = now - found.st_mtime
        if age < _YOUNG or not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            return False
        handle = os.open(path, os.O_RDONLY if stat.S_ISDIR(found.st_mode) else os.O_RDWR)
    except OSError:  # gone, or another user's
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return age > _OLD
    finally:
        os.close(handle)
    return True
