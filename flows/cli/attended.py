"""A run that somebody waits for: its outcome comes back even when the Prefect server went away."""

import logging
import signal
import time
from typing import Final

from prefect.exceptions import Abort

from flows.restyle import TooManyFailuresError, restyle_catalog
from flows.runtime import prefect_api
from flows.runtime.errors import UsageError
from flows.runtime.outcome import Ended, receiving
from schemas.run import RestyleSpec
from schemas.text import one_line

logger = logging.getLogger(__name__)

_PATIENCE_AT_END: Final = 10.0
_PATIENCE_ON_ERROR: Final = 3.0


def restyle_attended(spec: RestyleSpec) -> Ended:
    """Run the flow `restyle-catalog` in this process.

    Too many failures are no error here: the outcome says how many there are.

    Raises:
        TaskError: what the run ended with.
        UsageError: the Prefect server does not take the run.
    """
    outcome = _Outcome()
    with receiving(outcome):
        try:
            restyle_catalog(spec)
        except (Exception, Abort) as error:
            outcome.settle(error)
    assert outcome.ended is not None
    return outcome.ended


class _ServerLost(Abort):
    """Ends the flow at once; of an `Abort` Prefect's engine tells its server nothing."""


class _Outcome:
    """How the run ended, whatever becomes of Prefect's report of it."""

    def __init__(self) -> None:
        self.ended: Ended | None = None
        self._error: BaseException | None = None
        self._warned = False
        self._on_sigterm = signal.getsignal(signal.SIGTERM)

    def started(self) -> None:
        """Take SIGTERM back from Prefect's engine, whose exception can get lost on its way."""
        signal.signal(signal.SIGTERM, self._on_sigterm)

    def completed(self, ended: Ended) -> None:
        """Keep the outcome, and leave the flow when there is nobody to report to."""
        self.ended = ended
        self._leave_without_server(_PATIENCE_AT_END)

    def failed(self, error: BaseException) -> None:
        """Keep the error, and leave the flow when there is nobody to report to."""
        if self.ended is None and self._error is None:
            self._error = error
            self._leave_without_server(_PATIENCE_ON_ERROR)

    def server_lost(self, reason: str) -> None:
        """Warn, once."""
        if not self._warned:
            self._warned = True
            logger.warning("the Prefect server went away (%s); the run does not need it", reason)

    def settle(self, error: BaseException) -> None:
        """Raise what ended the run early; Prefect's own trouble is only warned of."""
        known = isinstance(error, TooManyFailuresError | _ServerLost) or error is self._error
        reason = one_line(str(error), 200)
        if self.ended is None and self._error is None:
            raise UsageError(f"Prefect does not start the run ({reason}); look at its server")
        if not known:
            self.server_lost(reason)
        if self.ended is not None:
            return
        assert self._error is not None
        raise self._error

    def _leave_without_server(self, seconds: float) -> None:
        deadline = time.monotonic() + (0.0 if self._warned else seconds)
        while why := prefect_api.complaint(min(seconds, prefect_api.ANSWER_SECONDS)):
            if time.monotonic() >= deadline:
                self.server_lost(why)
                raise _ServerLost(why)
            time.sleep(1.0)
