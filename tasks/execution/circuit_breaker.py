"""Tells a run in which everything fails from one with some bad items."""

import time

from schemas.result import ItemResult
from tasks.errors import PoolError
from tasks.records.ledger import PATIENCE

_DEATHS = 30
_FAILURES = 50
_PASSING = 8
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 60.0


class CircuitBreaker:
    """Counts what fails without anything else in between; pauses a run first, and then ends it.

    Faults that pass, such as a store that is away, are waited out for some minutes, during which
    no item is handed out, so that none uses up its attempts.
    """

    def __init__(self) -> None:
        self._deaths = self._failures = self._passing = 0
        self._since = self._until = 0.0
        self._pause = _FIRST_PAUSE

    @property
    def holds(self) -> bool:
        """True while nothing should be handed out."""
        return time.monotonic() < self._until

    def row(self, row: ItemResult) -> None:
        """Take note of how an attempt ended.

        Raises:
            PoolError: nothing but failures any more.
        """
        if row.error is not None and row.error.stage == "actor":
            return  # see `death`
        self._deaths = 0
        if row.status != "failed":
            self._failures = self._passing = 0
        elif row.error is not None and row.error.transient:
            self._wait(row)
        else:
            self._failures += 1
        if self._failures >= _FAILURES:
            raise PoolError(f"the last {self._failures} items all failed, {_why(row)}")

    def death(self) -> None:
        """Take note that an engine's process ended while at an item.

        Raises:
            PoolError: they do nothing else any more.
        """
        self._deaths += 1
        if self._deaths >= _DEATHS:
            raise PoolError(
                f"the last {self._deaths} items all ended the process of their engine; it "
                "probably lacks memory: ask for fewer actors or a smaller working size"
            )

    def _wait(self, row: ItemResult) -> None:
        now = time.monotonic()
        if not self._passing:
            self._since, self._pause = now, _FIRST_PAUSE
        self._passing += 1
        if self._passing < _PASSING or self.holds:
            return
        if now - self._since > PATIENCE:
            raise PoolError(f"nothing has come through for {PATIENCE / 60:.0f} min, {_why(row)}")
        self._until = now + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)


def _why(row: ItemResult) -> str:
    what = f"at stage {row.error.stage}: {row.error.message}" if row.error else "without a word"
    return f"the latest {what}; mend that and run the same command again, which goes on from here"
