"""Processes that a library starts below this one and may leave behind; on Linux, else none."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def children() -> set[int]:
    """Return the processes that this one has started."""
    return set(_children(os.getpid()))


@contextmanager
def ended(but: set[int]) -> Iterator[None]:
    """Kill what still runs, after the block, of the processes that were below this one before it.

    Args:
        but: Children to leave alone, with what is below them.
    """
    found = _below(children() - but)
    handles = []
    for pid in found:
        with suppress(OSError, AttributeError):  # it has ended, or the system has no such handles
            handles.append(os.pidfd_open(pid))
    try:
        yield
    finally:
        for handle in handles:
            with suppress(OSError):  # it has ended
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            os.close(handle)


def _below(pids: set[int]) -> set[int]:
    found, new = set(pids), set(pids)
    while new:
        new = {child for pid in new for child in _children(pid)} - found
        found |= new
    return found


def _children(pid: int) -> Iterator[int]:
    """A thread that ends hands its children to another one, so all threads are asked."""
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # it has just ended
            yield from map(int, path.read_text().split())
