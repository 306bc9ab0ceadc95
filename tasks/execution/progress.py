"""The progress of a run, and the listeners that are told of it.

A flow's parameters are what the Prefect form shows, so listeners travel in a context variable.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Literal

from schemas.result import ItemResult

Phase = Literal[
    "planning",
    "starting Ray",
    "loading the engine",
    "preparing references",
    "restyling",
    "writing the results",
    "measuring",
    "building the report",
]
"""What a run does, in its order."""


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        done: Items that ended, those taken over from before included.
        total: Items of the plan.
        ok: Items with an asset.
        rejected: Items whose input is at fault.
        failed: Items that failed after retries.
        retried: Attempts that came to nothing but were followed by another.
        phase: What the run is doing.
    """

    done: int
    total: int
    ok: int = 0
    rejected: int = 0
    failed: int = 0
    retried: int = 0
    phase: Phase = "restyling"

    def with_result(self, row: ItemResult) -> "Progress":
        """Count one more row."""
        more = {row.status: getattr(self, row.status) + 1}
        return replace(self, done=self.done + 1, **more)


OnProgress = Callable[[Progress], None]

_listeners: ContextVar[tuple[OnProgress, ...]] = ContextVar("progress_listeners", default=())


@contextmanager
def listening(listener: OnProgress) -> Iterator[None]:
    """Tell `listener` of the progress of any run started inside the block."""
    token = _listeners.set((*_listeners.get(), listener))
    try:
        yield
    finally:
        _listeners.reset(token)


def announce(now: Progress) -> None:
    """Tell all listeners how far the run is."""
    for listener in _listeners.get():
        listener(now)


def announce_phase(phase: Phase) -> None:
    """Tell all listeners what the run does now."""
    announce(Progress(done=0, total=0, phase=phase))
