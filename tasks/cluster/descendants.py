"""Find and kill descendant processes that a library leaves behind. Linux only; no-op elsewhere."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def child_pids() -> set[int]:
    """Return the ids of this process's children."""
    return set(_children(os.getpid()))


@contextmanager
def kill_leftovers(spare: set[int]) -> Iterator[None]:
    """Kill, after the block, the descendants that existed before it and still run.

    Args:
        spare: Children to spare, with their descendants.
    """
    found = _below(child_pids() - spare)
    handles = []
    for pid in found:
        with suppress(OSError, AttributeError):  # it has exited, or the system has no pidfd
            handles.append(os.pidfd_open(pid))
    try:
        yield
    finally:
        for handle in handles:
            with suppress(OSError):  # it has exited
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            os.close(handle)


def _below(pids: set[int]) -> set[int]:
    found, new = set(pids), set(pids)
    while new:
        new = {child for pid in new for child in _children(pid)} - found
        found |= new
    return found


def _children(pid: int) -> Iterator[int]:
    """Yield children of all threads: a thread that ends passes its children to another one."""
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # it has just exited
            yield from map(int, path.read_text().split())
