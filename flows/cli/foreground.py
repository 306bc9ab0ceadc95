"""Runs the flow in the process of a command, and returns its outcome even if Prefect's server dies.

Prefect's engine raises when it cannot report a flow's final state to its server. Here the outcome
comes from a listener instead, and a lost server is only a warning.
"""

import logging
import signal
import time
from typing import Final

from prefect.exceptions import Abort

from flows.restyle import TooManyFailuresError, restyle_catalog
from flows.runtime import prefect_api
from flows.runtime.errors import UsageError
from flows.runtime.outcome import RunOutcome, notifying
from schemas.run import RestyleSpec
from schemas.text import one_line

logger = logging.getLogger(__name__)

_WAIT_AT_END: Final = 10.0
_WAIT_ON_ERROR: Final = 3.0
"""Seconds in which a server may come back before the run ends without it."""


def restyle_in_foreground(spec: RestyleSpec) -> RunOutcome:
    """Run the flow `restyle-catalog` in this process.

    Too many failures raise nothing here; the summary counts them.

    Raises:
        TaskError: the error that ended the run early.
        UsageError: Prefect could not start the run.
    """
    recorder = _OutcomeRecorder()
    with notifying(recorder):
        try:
            restyle_catalog(spec)
        except (Exception, Abort) as error:
            recorder.handle_error(error)
    assert recorder.outcome is not None
    return recorder.outcome


class _ServerLost(Abort):
    """Leaves the flow at once; Prefect's engine does not report an `Abort` to its server."""


class _OutcomeRecorder:
    """Records the outcome or the error of a run.

    Attributes:
        outcome: The outcome of a run that reached its end, or None.
    """

    def __init__(self) -> None:
        self.outcome: RunOutcome | None = None
        self._error: BaseException | None = None
        self._warned = False
        self._on_sigterm = signal.getsignal(signal.SIGTERM)

    def started(self) -> None:
        """Restore our SIGTERM handler: the exception that Prefect's handler raises can get lost."""
        signal.signal(signal.SIGTERM, self._on_sigterm)

    def completed(self, outcome: RunOutcome) -> None:
        """Record the outcome; leave the flow if the server is lost."""
        self.outcome = outcome
        self._stop_if_server_lost(_WAIT_AT_END)

    def failed(self, error: BaseException) -> None:
        """Record the error; leave the flow if the server is lost."""
        if self.outcome is None and self._error is None:
            self._error = error
            self._stop_if_server_lost(_WAIT_ON_ERROR)

    def server_lost(self, reason: str) -> None:
        """Warn once."""
        if not self._warned:
            self._warned = True
            logger.warning("the Prefect server was lost (%s); the run does not need it", reason)

    def handle_error(self, error: BaseException) -> None:
        """Raise the error that ended the run early; only warn of errors of Prefect's engine."""
        known = isinstance(error, TooManyFailuresError | _ServerLost) or error is self._error
        reason = one_line(str(error), 200)
        if self.outcome is None and self._error is None:
            raise UsageError(f"Prefect cannot start the run ({reason}); check its server")
        if not known:
            self.server_lost(reason)
        if self.outcome is not None:
            return
        assert self._error is not None
        raise self._error

    def _stop_if_server_lost(self, seconds: float) -> None:
        deadline = time.monotonic() + (0.0 if self._warned else seconds)
        while why := prefect_api.health_error(min(seconds, prefect_api.HEALTH_CHECK_SECONDS)):
            if time.monotonic() >= deadline:
                self.server_lost(why)
                raise _ServerLost(why)
            time.sleep(1.0)
