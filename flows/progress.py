"""Who hears of a run's progress: the terminal, when there is one, and Prefect.

The flow's parameters are what the form shows, so a callback cannot be one of them; the command
line hands its own over through a context variable instead.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from uuid import UUID

from flows.runtime.outcome import server_lost
from schemas.text import one_line
from tasks.execution.progress import OnProgress, Phase, Progress

_listener: ContextVar[OnProgress | None] = ContextVar("listener", default=None)
_SECONDS_BETWEEN_UPDATES = 3.0


@contextmanager
def listening(listener: OnProgress) -> Iterator[None]:
    """Tell `listener` of the progress of any run started inside the block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def announce_phase(phase: Phase) -> None:
    """Tell the listener, when there is one, what the run does now."""
    if listener := _listener.get():
        listener(Progress(done=0, total=0, phase=phase))


class Announcer:
    """Passes progress on to the listener and to a Prefect progress artifact.

    A Prefect server that is down or slow must not stop the work: the first error ends the
    artifact's updates, and the run goes on.
    """

    def __init__(self) -> None:
        self._artifact: UUID | None = None
        self._silent = False
        self._last = float("-inf")

    def __call__(self, now: Progress) -> None:
        """Pass `now` on."""
        listener = _listener.get()
        if listener:
            listener(now)
        if now.phase != "restyling":
            return
        due = time.monotonic() - self._last >= _SECONDS_BETWEEN_UPDATES
        if not self._silent and (due or now.done >= now.total):
            self._last = time.monotonic()
            self._update(now)

    def _update(self, now: Progress) -> None:
        from prefect.artifacts import create_progress_artifact, update_progress_artifact

        from flows.runtime.prefect_api import brief

        percent = 100.0 * now.done / max(now.total, 1)
        text = f"{now.ok} ok, {now.rejected} rejected, {now.failed} failed of {now.total} items"
        try:
            with brief():
                if self._artifact is None:
                    made = create_progress_artifact(
                        percent, key="restyle-progress", description=text
                    )
                    self._artifact = made if isinstance(made, UUID) else None
                else:
                    update_progress_artifact(self._artifact, progress=percent, description=text)
        except Exception as error:
            self._silent = True
            server_lost(one_line(str(error), 200))
