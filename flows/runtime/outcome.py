"""The outcome of a run, passed to a listener in this process before Prefect reports it.

When a flow returns, Prefect's engine first sends the final state to its server and raises if the
server does not answer. The listener receives the outcome without that server. It is set in a
context variable because the flow's parameters are the fields of its form in the UI.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from schemas.run import RunSummary

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunOutcome:
    """The outcome of a run that reached its end.

    Attributes:
        run_id: Id of the run.
        summary: Its counts.
        report: Path or URI of its report.
    """

    run_id: str
    summary: RunSummary
    report: str


class RunListener(Protocol):
    """Receives what happens to a run; may raise, to leave the flow before Prefect reports."""

    def started(self) -> None:
        """Handle the start of the flow function, inside Prefect's engine."""

    def completed(self, outcome: RunOutcome) -> None:
        """Handle the outcome of a run that reached its end."""

    def failed(self, error: BaseException) -> None:
        """Handle the error that ends the flow; may follow `completed`."""

    def server_lost(self, reason: str) -> None:
        """Handle a Prefect server that no longer answers."""


_listener: ContextVar[RunListener | None] = ContextVar("listener", default=None)


@contextmanager
def notifying(listener: RunListener) -> Iterator[None]:
    """Notify `listener` of the runs that are started inside the block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def notify_start_and_error() -> Iterator[None]:
    """Notify the listener of the start of the block, and of an error that leaves it."""
    if listener := _listener.get():
        listener.started()
    try:
        yield
    except BaseException as error:
        if listener:
            listener.failed(error)
        raise


def notify_completed(outcome: RunOutcome) -> None:
    """Notify the listener of a run that reached its end."""
    if listener := _listener.get():
        listener.completed(outcome)


def notify_server_lost(reason: str) -> None:
    """Notify the listener that the Prefect server does not answer; without one, log a warning."""
    if listener := _listener.get():
        listener.server_lost(reason)
    else:
        logger.warning("the Prefect server does not answer (%s); the run continues", reason)
