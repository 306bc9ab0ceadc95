"""What the command line shows while a run goes on: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tasks.execution import progress
from tasks.execution.progress import listening

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
    """Show what the flow that runs inside the block does, how long it has and how long it will."""
    with _bars() as bars:
        if not bars.console.is_terminal:
            with listening(_Lines().tell):
                yield
            return
        row = bars.add_task("", total=None, note="")
        pace = Pace()

        def tell(now: progress.Progress) -> None:
            if now.phase != "restyling":
                bars.update(row, description=now.phase, total=now.total or None)
                return
            note = ", ".join(filter(None, [troubles(now), pace.time_left(now)]))
            bars.update(row, description=now.phase, note=note, completed=now.done, total=now.total)

        with listening(tell):
            yield


def _bars() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        disable=not console.is_terminal,
    )


class Pace:
    """Tells how long a run will still take, from the mean of the items it has done so far.

    rich's own estimate looks at the last 30 seconds alone, in which a slow item may not end.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start: tuple[float, int] | None = None

    def time_left(self, now: progress.Progress) -> str:
        """Return `about 3 min left`, or nothing before the first item and after the last."""
        if self._start is None:
            self._start = (self._clock(), now.done)
        begun, before = self._start
        if now.done == before or now.done >= now.total:
            return ""
        mean = (self._clock() - begun) / (now.done - before)
        return f"about {duration(mean * (now.total - now.done))} left"


def troubles(now: progress.Progress) -> str:
    """Name what went wrong so far, or nothing."""
    parts = [(now.rejected, "rejected"), (now.failed, "failed")]
    return ", ".join(f"{count} {name}" for count, name in parts if count)


class _Lines:
    """A plain line for each phase, one every few seconds while items are done, one at the end."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._last, self._phase, self._pace = float("-inf"), "", Pace()

    def tell(self, now: progress.Progress) -> None:
        if now.phase != "restyling":
            if now.phase != self._phase:
                say(now.phase)
            self._phase = now.phase
            return
        self._phase, left = now.phase, self._pace.time_left(now)
        finished = now.done >= now.total
        if not finished and time.monotonic() - self._last < _SECONDS_BETWEEN_LINES:
            return
        self._last = time.monotonic()
        notes = [troubles(now), f"{duration(time.monotonic() - self._begun)} elapsed", left]
        say(f"restyled {now.done} of {now.total} ({', '.join(filter(None, notes))})")
