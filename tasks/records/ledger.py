"""The ledger of a run: append-only Parquet parts with the rows of ended items, for resume.

A part is written atomically and never changed. A crash loses at most the rows of the last few
seconds; the next attempt recovers them from their assets. Slow items give a part each, so the
driver compacts the parts from time to time.
"""

import logging
import secrets
import time
from collections.abc import Iterable
from functools import partial

import pyarrow as pa

from schemas.result import ItemResult
from tasks.errors import FileMissing, RecordError, StorageError
from tasks.records import parquet
from tasks.records.layout import RunFiles
from tasks.records.parts import Part, Parts, merge_parts, mergeable_groups, next_number, read_all
from tasks.storage import StoragePath

MAX_ROWS = 512
MAX_TEXT = 2**23
"""Most characters of buffered rows as JSON; a row with thousands of references has a million."""
MAX_SECONDS = 3.0
MORE_PARTS = 64
"""Parts that may be added before they are compacted again."""
MERGED_ROWS = 4096
"""Most rows of a compacted part; larger parts are not rewritten again and again."""
PATIENCE = 600.0
"""Seconds for which a store may be unavailable before the run fails."""
_PAUSE = 5.0
_DIGITS = 13
"""Digits of the number at the start of an epoch."""

logger = logging.getLogger(__name__)


class Ledger:
    """Writes the rows of one driver.

    Each driver has its own epoch in the names of its parts, so drivers do not overwrite each
    other. Epochs increase, so the rows of a later driver are later in the ledger.
    """

    def __init__(self, files: RunFiles, before: Iterable[Part] = ()) -> None:
        """Append to the parts of earlier drivers.

        Args:
            files: Files of the run.
            before: The existing parts, which are compacted together with new ones.

        Raises:
            StorageError: the ledger cannot be listed.
        """
        self._folder = files.ledger
        number = next_number(parquet.part_names(self._folder), _DIGITS)
        self._epoch = f"{number:0{_DIGITS}d}{secrets.token_hex(3)}"
        self._sequence = 0
        self._rows: list[ItemResult] = []
        self._text = 0
        self._parts = list(before)
        self._most_parts = MORE_PARTS
        self._since = time.monotonic()
        self._not_before = self._since

    def append(self, row: ItemResult) -> None:
        """Buffer a row; it is durable after the next :meth:`commit`.

        Raises:
            StorageError: the buffered rows cannot be written.
        """
        if not self._rows:
            self._since = time.monotonic()
        self._rows.append(row)
        self._text += len(row.model_dump_json())
        self.commit_if_due()

    def commit_if_due(self) -> None:
        """Write the buffered rows if they are many, or older than MAX_SECONDS.

        If the store is unavailable, the rows stay buffered and are written later.

        Raises:
            StorageError: a permanent error, or the store is unavailable for PATIENCE seconds; the
                rows stay buffered.
        """
        now = time.monotonic()
        if now < self._not_before:
            return
        many = len(self._rows) >= MAX_ROWS or self._text >= MAX_TEXT
        if many or now - self._since >= MAX_SECONDS:
            try:
                self.commit()
            except StorageError as error:
                now = time.monotonic()
                if not error.transient or now - self._since > PATIENCE:
                    raise
                logger.warning("%s; %d rows are kept for the next attempt", error, len(self._rows))
                self._not_before = now + _PAUSE

    def commit(self) -> None:
        """Write the buffered rows as the next part.

        Raises:
            StorageError: the part cannot be written; the rows stay buffered.
        """
        if self._rows:
            name = f"part-{self._epoch}-{self._sequence:06d}.parquet"
            table = parquet.write_rows(self._folder / name, self._rows, ItemResult)
            self._sequence += 1
            self._rows, self._text = [], 0
            self._parts.append(Part(name, len(table), table.nbytes))
            self.compact()

    def compact(self) -> None:
        """Merge small neighboring parts, if there are many.

        Errors are only logged: without this, reading the ledger is slower, but no row is lost.
        """
        if len(self._parts) <= self._most_parts:
            return
        try:
            for group in mergeable_groups(tuple(self._parts), MERGED_ROWS):
                made = merge_parts(self._folder, group, read_all(self._folder, group))
                first = self._parts.index(group[0])
                self._parts[first : first + len(group)] = [made]
        except FileMissing:  # another driver compacts them
            self._parts = []
        except (RecordError, StorageError) as error:
            logger.warning("cannot compact the ledger: %s", error)
            self._parts = []
        self._most_parts = len(self._parts) + MORE_PARTS


def read_ledger(files: RunFiles) -> Parts:
    """Return the ledger of a run, indexed by item; empty if the run has not started.

    Raises:
        RecordError: a part is damaged or belongs to another run; the message names it.
        StorageError: the ledger cannot be read.
    """
    return Parts(files.ledger, check=partial(_check, files.run_id))


def _check(run_id: str, file: StoragePath, part: pa.Table) -> None:
    foreign = set(part["run_id"].unique().to_pylist()) - {run_id}
    if foreign:
        raise RecordError(
            f"{file} belongs to run {min(filter(None, foreign), default='unknown')}, not to "
            f"{run_id}; move it away"
        )
