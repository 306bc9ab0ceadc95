"""Folders for what Ray, Prefect and planning write: writable, with room, short where needed."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tasks.errors import PlanError

USUAL: Final = "/tmp"
"""Where temporary files go that nobody has another folder for."""
_FALLBACKS: Final = (USUAL, "/var/tmp", "/dev/shm")
_MIN_FREE_BYTES: Final = 2**26
_SOCKET_PATH_BYTES: Final = 103 if sys.platform == "darwin" else 107
"""Longest path of a Unix socket."""
_RAY_SOCKET: Final = "/ray/session_2000-01-01_00-00-00_000000_4194304/sockets/plasma_store"
"""The longest path that Ray makes below its folder."""


def problem(folder: str | Path) -> str:
    """Return why files cannot be written to a folder; nothing when they can."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return "" if free >= _MIN_FREE_BYTES else f"only {free / 1e6:.0f} MB are free"


def ray_problem(folder: str | Path) -> str:
    """Return why Ray cannot keep its files and sockets in a folder; nothing when it can."""
    most = _SOCKET_PATH_BYTES - len(_RAY_SOCKET)
    if len(os.fsencode(Path(folder).absolute())) > most:
        return f"the path is longer than {most} bytes, too long for Unix sockets"
    below = Path(folder, "ray")  # another user's, perhaps
    return problem(folder) or (problem(below) if below.exists() else "")


def temporary_folder() -> str:
    """Return the first folder that files can be written to, TMPDIR before the usual ones.

    Unlike :func:`tempfile.gettempdir` it asks for free space as well.

    Raises:
        PlanError: there is none.
    """
    return _first(("TMPDIR",), problem)


def ray_folder() -> str:
    """Return the first folder that Ray can use, RAY_TMPDIR and TMPDIR before the usual ones.

    Raises:
        PlanError: there is none.
    """
    return _first(("RAY_TMPDIR", "TMPDIR"), ray_problem)


def _first(variables: tuple[str, ...], complaint: Callable[[str], str]) -> str:
    named = [folder for variable in variables if (folder := os.environ.get(variable))]
    whys: dict[str, str] = {}
    for folder in (*named, *_FALLBACKS):
        whys[folder] = complaint(folder)
        if not whys[folder]:
            return folder
    told = "; ".join(f"{folder}: {why}" for folder, why in whys.items())
    raise PlanError(f"no folder for temporary files can be used ({told}); set {variables[0]}")
