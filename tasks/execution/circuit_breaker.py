"""A circuit breaker: pauses a run while its store is unavailable, ends one in which all fails."""

import time

from schemas.result import ItemResult
from tasks.errors import PoolError
from tasks.records.ledger import PATIENCE

_MAX_DEATHS = 30
_MAX_FAILURES = 50
_MAX_TRANSIENT = 8
_FIRST_PAUSE, _MAX_PAUSE = 5.0, 60.0


class CircuitBreaker:
    """Counts consecutive failures; first pauses a run, then ends it.

    During transient faults, such as an unavailable store, no items are assigned for some minutes,
    so items do not use up their attempts.
    """

    def __init__(self) -> None:
        self._deaths = self._failures = self._transient = 0
        self._first_failure = self._open_until = 0.0
        self._pause = _FIRST_PAUSE

    @property
    def is_open(self) -> bool:
        """True while no items should be assigned."""
        return time.monotonic() < self._open_until

    def record(self, result: ItemResult) -> None:
        """Count the result of an attempt.

        Raises:
            PoolError: too many attempts in a row failed.
        """
        error = result.error
        if error is not None and error.stage == "actor":
            return  # counted by record_death
        if error is not None and error.stage == "learn" and not error.transient:
            return  # its gallery is at fault; other galleries may succeed
        self._deaths = 0
        if result.status != "failed":
            self._failures = self._transient = 0
        elif result.error is not None and result.error.transient:
            self._record_transient(result)
        else:
            self._failures += 1
        if self._failures >= _MAX_FAILURES:
            raise PoolError(f"the last {self._failures} items all failed, {_reason(result)}")

    def record_death(self) -> None:
        """Count an engine process that died while it worked on an item.

        Raises:
            PoolError: too many died in a row.
        """
        self._deaths += 1
        if self._deaths >= _MAX_DEATHS:
            raise PoolError(
                f"the engine's process died on each of the last {self._deaths} items; it probably "
                "runs out of memory: use fewer actors or a smaller image size"
            )

    def _record_transient(self, result: ItemResult) -> None:
        now = time.monotonic()
        if not self._transient:
            self._first_failure, self._pause = now, _FIRST_PAUSE
        self._transient += 1
        if self._transient < _MAX_TRANSIENT or self.is_open:
            return
        if now - self._first_failure > PATIENCE:
            raise PoolError(f"no item succeeded for {PATIENCE / 60:.0f} min, {_reason(result)}")
        self._open_until = now + self._pause
        self._pause = min(2 * self._pause, _MAX_PAUSE)


def _reason(result: ItemResult) -> str:
    error = result.error
    what = f"at stage {error.stage}: {error.message}" if error else "without an error message"
    return f"the latest {what}; fix the cause and run the same command again to resume"
