"""Find temporary files and folders that a killed process has left behind.

A process locks its temporary files with flock. The kernel releases the lock when the process ends,
however it ends; network file systems with locks pass this on to other machines.
"""

import fcntl
import os
import stat
from contextlib import suppress

_YOUNG, _OLD = 60.0, 86_400.0
"""Seconds. A younger file may not be locked yet; without flock, only an older one is abandoned."""


def mark_in_use(handle: int) -> None:
    """Lock an open file or folder until it is closed, if its file system supports flock."""
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_abandoned(path: str, now: float) -> bool:
    """Tell whether the process that uses a file or folder has ended.

    Args:
        path: A file or folder on which its process calls :func:`mark_in_use`.
        now: Current time of the file system's clock.
    """
    try:
        found = os.lstat(path)
        age = now - found.st_mtime
        if age < _YOUNG or not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            return False
        handle = os.open(path, os.O_RDONLY if stat.S_ISDIR(found.st_mode) else os.O_RDWR)
    except OSError:  # deleted, or of another user
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
