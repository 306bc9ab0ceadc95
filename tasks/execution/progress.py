"""The progress of a run and its listeners.

Listeners are held in a context variable: parameters of a flow would appear in the Prefect form.
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
    "learning",
    "comparing learnt styles",
    "loading the engine",
    "preparing references",
    "restyling",
    "writing the results",
    "measuring",
    "building the report",
]
"""The phases of a run, in order."""


@dataclass(frozen=True)
class Progress:
    """Progress of a run.

    Attributes:
        done: Finished items, including reused ones; in phase `learning`, styles.
        total: Items of the plan; in phase `learning`, styles to learn.
        ok: Items with an asset.
        rejected: Items with unusable input.
        failed: Items that failed after all retries.
        retried: Failed attempts that were retried.
        phase: Current phase.
    """

    done: int
    total: int
    ok: int = 0
    rejected: int = 0
    failed: int = 0
    retried: int = 0
    phase: Phase = "restyling"

    def learnt(self) -> str:
        """Return the progress of phase `learning` as text."""
        return f"learning {self.done} of {self.total}"

    def with_result(self, result: ItemResult) -> "Progress":
        """Return the progress after one more result."""
        counts = {result.status: getattr(self, result.status) + 1}
        return replace(self, done=self.done + 1, **counts)


OnProgress = Callable[[Progress], None]

_listeners: ContextVar[tuple[OnProgress, ...]] = ContextVar("progress_listeners", default=())


@contextmanager
def listening(listener: OnProgress) -> Iterator[None]:
    """Call `listener` with the progress of any run inside the block."""
    token = _listeners.set((*_listeners.get(), listener))
    try:
        yield
    finally:
        _listeners.reset(token)


def announce(now: Progress) -> None:
    """Call all listeners."""
    for listener in _listeners.get():
        listener(now)


def announce_phase(phase: Phase) -> None:
    """Call all listeners with a new phase and no counts."""
    announce(Progress(done=0, total=0, phase=phase))
