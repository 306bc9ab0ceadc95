"""What the command line shows while a run goes on: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from flows.progress import listening

if TYPE_CHECKING:
    from tasks import pool

_SECONDS_BETWEEN_LINES = 10.0


def say(message: str = "") -> None:
    """Write one line for people; stdout stays for what a program would read."""
    print(message, file=sys.stderr, flush=True)


def hours(seconds: float) -> str:
    """Write a duration as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


@contextmanager
def run_progress() -> Iterator[None]:
    """Show the progress of the flow that runs inside the block."""
    console = Console(stderr=True)
    if not console.is_terminal:
        with listening(_Lines().tell):
            yield
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        row = bars.add_task("restyling", total=None, note="")

        def tell(now: "pool.Progress") -> None:
            bars.update(row, completed=now.done, total=now.total, note=troubles(now))

        with listening(tell):
            yield


def troubles(now: "pool.Progress") -> str:
    """Name what went wrong so far, or nothing."""
    parts = [(now.rejected, "rejected"), (now.failed, "failed")]
    return ", ".join(f"{count} {name}" for count, name in parts if count)


class _Lines:
    """One plain line every few seconds, and one at the end."""

    def __init__(self) -> None:
        self._last = float("-inf")

    def tell(self, now: "pool.Progress") -> None:
        finished = now.done >= now.total
        if not finished and time.monotonic() - self._last < _SECONDS_BETWEEN_LINES:
            return
        self._last = time.monotonic()
        note = troubles(now)
        say(f"restyled {now.done} of {now.total}" + (f" ({note})" if note else ""))
