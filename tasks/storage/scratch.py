"""Find a folder for temporary files of Ray, Prefect and planning: writable, with free space."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tasks.errors import PlanError

USUAL: Final = "/tmp"
"""The usual folder for temporary files."""
_FALLBACKS: Final = (USUAL, "/var/tmp", "/dev/shm")
_MIN_FREE_BYTES: Final = 2**26
_SOCKET_PATH_BYTES: Final = 103 if sys.platform == "darwin" else 107
"""Longest path of a Unix socket, in bytes."""
_RAY_SOCKET: Final = "/ray/session_2000-01-01_00-00-00_000000_4194304/sockets/plasma_store"
"""The longest path that Ray creates below its folder."""


def problem(folder: str | Path) -> str:
    """Return why files cannot be written to a folder; empty if they can."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return "" if free >= _MIN_FREE_BYTES else f"only {free / 1e6:.0f} MB are free"


def ray_problem(folder: str | Path) -> str:
    """Return why Ray cannot use a folder for its files and sockets; empty if it can."""
    most = _SOCKET_PATH_BYTES - len(_RAY_SOCKET)
    if len(os.fsencode(Path(folder).absolute())) > most:
        return f"its path has more than {most} bytes, too long for Unix sockets"
    below = Path(folder, "ray")  # may belong to another user
    return problem(folder) or (problem(below) if below.exists() else "")


def temporary_folder() -> str:
    """Return the first folder that files can be written to: TMPDIR, then the usual ones.

    Unlike :func:`tempfile.gettempdir`, this requires free space.

    Raises:
        PlanError: no folder can be used.
    """
    return _first(("TMPDIR",), problem)


def ray_folder() -> str:
    """Return the first folder that Ray can use: RAY_TMPDIR, TMPDIR, then the usual ones.

    Raises:
        PlanError: no folder can be used.
    """
    return _first(("RAY_TMPDIR", "TMPDIR"), ray_problem)


def _first(variables: tuple[str, ...], find_problem: Callable[[str], str]) -> str:
    named = [folder for variable in variables if (folder := os.environ.get(variable))]
    reasons: dict[str, str] = {}
    for folder in (*named, *_FALLBACKS):
        reasons[folder] = find_problem(folder)
        if not reasons[folder]:
            return folder
    listed = "; ".join(f"{folder}: {reason}" for folder, reason in reasons.items())
    raise PlanError(f"no folder for temporary files can be used ({listed}); set {variables[0]}")
