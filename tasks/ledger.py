"""The ledger of a run: append-only Parquet parts of what was done, the truth for resume.

A part is written whole or not at all and never changed. A crash loses at most the rows of the
last few seconds; their assets stand and are taken over by the next attempt.
"""

import logging
import secrets
import time
from collections.abc import Iterator

import pyarrow as pa

from schemas.result import ItemResult
from tasks import storage, tables
from tasks.errors import RecordError, StorageError
from tasks.row_index import RowIndex
from tasks.run_files import RunFiles

MAX_ROWS = 512
MAX_SECONDS = 3.0
PATIENCE = 600.0
"""Seconds for which a store may be away before the run ends."""
_PAUSE = 5.0

logger = logging.getLogger(__name__)


class Ledger:
    """Writes rows of one driver; each driver start has its own epoch, so none overwrites another.

    Epochs sort by time: a later driver's rows are later in the ledger.
    """

    def __init__(self, output: str, run_id: str) -> None:
        self._folder = RunFiles(output, run_id).ledger
        self._epoch = f"{time.time_ns() // 1_000_000:013d}{secrets.token_hex(3)}"
        self._sequence = 0
        self._rows: list[ItemResult] = []
        self._since = time.monotonic()
        self._not_before = self._since

    def append(self, row: ItemResult) -> None:
        """Take a row; it is durable after the next :meth:`commit`.

        Raises:
            StorageError: the ledger is full of rows and cannot be written.
        """
        if not self._rows:
            self._since = time.monotonic()
        self._rows.append(row)
        self.commit_if_due()

    def commit_if_due(self) -> None:
        """Write the rows taken when they are many or have waited for long.

        A store that is away for some minutes costs nothing: the rows wait, and with them the run.

        Raises:
            StorageError: they cannot be written for good; they are kept for the next attempt.
        """
        now = time.monotonic()
        if now < self._not_before:
            return
        if len(self._rows) >= MAX_ROWS or now - self._since >= MAX_SECONDS:
            try:
                self.commit()
            except StorageError as error:
                now = time.monotonic()
                if not error.transient or now - self._since > PATIENCE:
                    raise
                logger.warning("%s; %d rows wait for the next attempt", error, len(self._rows))
                self._not_before = now + _PAUSE

    def commit(self) -> None:
        """Write the rows taken so far as the next part.

        Raises:
            StorageError: they cannot be written; they are kept for the next attempt.
        """
        if self._rows:
            name = f"part-{self._epoch}-{self._sequence:06d}.parquet"
            tables.write_rows(storage.join(self._folder, name), self._rows, ItemResult)
            self._sequence += 1
            self._rows = []


def read_ledger(output: str, run_id: str) -> RowIndex:
    """Return the row that counts for each item of a run; empty when nothing was done yet.

    Raises:
        RecordError: a part is damaged or belongs to another run; says which.
        StorageError: the ledger cannot be read.
    """
    return RowIndex(_parts(RunFiles(storage.absolute(output), run_id).ledger, run_id))


def _parts(folder: str, run_id: str) -> Iterator[tuple[str, pa.Table]]:
    for name, part in tables.read_parts(folder, ItemResult, tables.KEPT):
        uri = storage.join(folder, name)
        foreign = set(part["run_id"].to_pylist()) - {run_id}
        if foreign:
            raise RecordError(
                f"{uri} belongs to run {min(filter(None, foreign), default='unknown')}, not to "
                f"{run_id}; move it away"
            )
        yield uri, part
