"""How a run ends, told to the caller in this process before Prefect reports it to its server.

A flow returns through Prefect's engine, which asks its server to take the last state first. What
was computed must reach the caller without that server. The flow's parameters are what its form
shows, so the receiver is handed over in a context variable.
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
class Ended:
    """How a run ended, and where to look at it."""

    run_id: str
    summary: RunSummary
    report: str


class Receiver(Protocol):
    """Who started the run; may raise, to leave the flow without a word to the server."""

    def started(self) -> None:
        """Take note that the flow itself runs now, within Prefect's engine."""

    def completed(self, ended: Ended) -> None:
        """Take the outcome of a run that got to its end."""

    def failed(self, error: BaseException) -> None:
        """Take what ended a run early; also called after `completed`."""

    def server_lost(self, reason: str) -> None:
        """Take note that the Prefect server does not answer any more."""


_receiver: ContextVar[Receiver | None] = ContextVar("receiver", default=None)


@contextmanager
def receiving(receiver: Receiver) -> Iterator[None]:
    """Tell `receiver` how any run ends that is started inside the block."""
    token = _receiver.set(receiver)
    try:
        yield
    finally:
        _receiver.reset(token)


@contextmanager
def reported() -> Iterator[None]:
    """Tell the receiver that the block begins, and of an error that leaves it."""
    if receiver := _receiver.get():
        receiver.started()
    try:
        yield
    except BaseException as error:
        if receiver:
            receiver.failed(error)
        raise


def complete(ended: Ended) -> None:
    """Tell the receiver that the run got to its end."""
    if receiver := _receiver.get():
        receiver.completed(ended)


def server_lost(reason: str) -> None:
    """Say once that the Prefect server does not answer; the run does not need it."""
    if receiver := _receiver.get():
        receiver.server_lost(reason)
    else:
        logger.warning("the Prefect server does not answer (%s); the run goes on", reason)
