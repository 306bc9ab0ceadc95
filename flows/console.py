"""What the command line shows while a run goes on: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from flows.progress import listening
from tasks import progress

_SECONDS_BETWEEN_LINES = 10.0


def say(message: str = "") -> None:
    """Write one line for people; stdout stays for what a program would read."""
    print(message, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Write a duration as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def size(count: float) -> str:
    """Write a number of bytes as people say it."""
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 1000:
            return f"{count:.0f} {unit}"
    return f"{count / 1000:.1f} TB"


@contextmanager
def bar(name: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """Show a bar of `total` steps on a terminal, and nothing elsewhere.

    Yields:
        A function that takes how many steps are done and, where it was not known, of how many.
    """
    with _bars() as bars:
        row = bars.add_task(name, total=total, note="")
        yield lambda done, of=total: bars.update(row, completed=done, total=of)


@contextmanager
def run_progress() -> Iterator[None]:
    """Show the progress of the flow that runs inside the block."""
    with _bars() as bars:
        if not bars.console.is_terminal:
            with listening(_Lines().tell):
                yield
            return
        row = bars.add_task("restyling", total=None, note="")

        def tell(now: progress.Progress) -> None:
            bars.update(row, completed=now.done, total=now.total, note=troubles(now))

        with listening(tell):
            yield


def _bars() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def troubles(now: progress.Progress) -> str:
    """Name what went wrong so far, or nothing."""
    parts = [(now.rejected, "rejected"), (now.failed, "failed")]
    return ", ".join(f"{count} {name}" for count, name in parts if count)


class _Lines:
    """One plain line every few seconds, and one at the end."""

    def __init__(self) -> None:
        self._last = float("-inf")

    def tell(self, now: progress.Progress) -> None:
        finished = now.done >= now.total
        if not finished and time.monotonic() - self._last < _SECONDS_BETWEEN_LINES:
            return
        self._last = time.monotonic()
        note = troubles(now)
        say(f"restyled {now.done} of {now.total}" + (f" ({note})" if note else ""))
