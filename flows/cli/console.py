"""Terminal output of a running command: a progress bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tasks.execution import progress
from tasks.execution.progress import listening

_SECONDS_BETWEEN_LINES = 10.0


def print_stderr(message: str = "") -> None:
    """Print a message for people; stdout is for output that programs read."""
    print(message, file=sys.stderr, flush=True)


def format_duration(seconds: float) -> str:
    """Return a duration as `45 s`, `3 min` or `1.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


@contextmanager
def progress_bar(name: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """Show a bar of `total` steps on a terminal, and nothing elsewhere.

    Yields:
        A function of the number of finished steps and, optionally, a new total.
    """
    with _bars() as bars:
        row = bars.add_task(name, total=total, note="")
        yield lambda done, of=total: bars.update(row, completed=done, total=of)


@contextmanager
def show_run_progress() -> Iterator[None]:
    """Show the phase, the finished items and the remaining time of a flow inside the block."""
    with _bars() as bars:
        if not bars.console.is_terminal:
            with listening(_PlainLines().update):
                yield
            return
        row = bars.add_task("", total=None, note="")
        remaining = RemainingTime()

        def update(now: progress.Progress) -> None:
            bars.update(row, description=now.phase, completed=now.done, total=now.total or None)
            if now.phase == "restyling":
                notes = [failure_counts(now), remaining.estimate(now)]
                bars.update(row, note=", ".join(filter(None, notes)))

        with listening(update):
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


class RemainingTime:
    """Estimates the remaining time of a run from the mean of all items that it has finished.

    rich's own estimate uses the last 30 seconds only, in which a slow item may not finish.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start: tuple[float, int] | None = None

    def estimate(self, now: progress.Progress) -> str:
        """Return `about 3 min left`; empty before the first item and after the last."""
        if self._start is None:
            self._start = (self._clock(), now.done)
        started_at, done_before = self._start
        if now.done == done_before or now.done >= now.total:
            return ""
        mean = (self._clock() - started_at) / (now.done - done_before)
        return f"about {format_duration(mean * (now.total - now.done))} left"


def failure_counts(now: progress.Progress) -> str:
    """Return the numbers of rejected and failed items, such as `2 rejected`; empty if none."""
    parts = [(now.rejected, "rejected"), (now.failed, "failed")]
    return ", ".join(f"{count} {name}" for count, name in parts if count)


class _PlainLines:
    """Prints a line for each phase and learnt style, and every few seconds while items finish."""

    def __init__(self) -> None:
        self._started_at = time.monotonic()
        self._last, self._line, self._remaining = float("-inf"), "", RemainingTime()

    def update(self, now: progress.Progress) -> None:
        if now.phase != "restyling":
            line = now.learnt() if now.phase == "learning" else now.phase
            if line != self._line:
                print_stderr(line)
            self._line = line
            return
        self._line, left = now.phase, self._remaining.estimate(now)
        finished = now.done >= now.total
        if not finished and time.monotonic() - self._last < _SECONDS_BETWEEN_LINES:
            return
        self._last = time.monotonic()
        elapsed = f"{format_duration(time.monotonic() - self._started_at)} elapsed"
        notes = [failure_counts(now), elapsed, left]
        print_stderr(f"restyled {now.done} of {now.total} ({', '.join(filter(None, notes))})")
