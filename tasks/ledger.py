"""The ledger of a run: append-only Parquet parts of what was done, the truth for resume.

A part is written whole or not at all and never changed. A crash loses at most the rows of the
last few seconds; their assets stand and are taken over by the next attempt. Slow items make a part
each, so their driver now and then puts them together.
"""

import logging
import secrets
import time
from collections.abc import Iterable
from functools import partial

import pyarrow as pa

from schemas.result import ItemResult
from tasks import storage, tables
from tasks.errors import FileMissing, RecordError, StorageError
from tasks.parts import Part, Parts, following, groups, read_whole, replace
from tasks.run_files import RunFiles

MAX_ROWS = 512
MAX_TEXT = 2**23
"""Most characters of rows, as JSON, that wait: one of thousands of references takes a million."""
MAX_SECONDS = 3.0
MORE_PARTS = 64
"""Parts that may come before they are put together again."""
MERGED_ROWS = 4096
"""Most rows of what is put together: it is written anew each time that more join it."""
PATIENCE = 600.0
"""Seconds for which a store may be away before the run ends."""
_PAUSE = 5.0
_DIGITS = 13
"""Of the number that begins an epoch."""

logger = logging.getLogger(__name__)


class Ledger:
    """Writes rows of one driver; each driver start has its own epoch, so none overwrites another.

    Epochs sort by their start: a later driver's rows are later in the ledger.
    """

    def __init__(self, output: str, run_id: str, before: Iterable[Part] = ()) -> None:
        """Write behind the parts that earlier drivers left.

        Raises:
            StorageError: the ledger cannot be listed.
        """
        self._folder = RunFiles(output, run_id).ledger
        number = following(tables.part_names(self._folder), _DIGITS)
        self._epoch = f"{number:0{_DIGITS}d}{secrets.token_hex(3)}"
        self._sequence = 0
        self._rows: list[ItemResult] = []
        self._text = 0
        self._parts = list(before)
        self._most_parts = MORE_PARTS
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
        self._text += len(row.model_dump_json())
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
        many = len(self._rows) >= MAX_ROWS or self._text >= MAX_TEXT
        if many or now - self._since >= MAX_SECONDS:
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
            table = tables.write_rows(storage.join(self._folder, name), self._rows, ItemResult)
            self._sequence += 1
            self._rows, self._text = [], 0
            self._parts.append(Part(name, len(table), table.nbytes))
            self.put_together()

    def put_together(self) -> None:
        """Write small parts side by side anew as one, when many have come.

        A fault here costs the next reader some seconds, and never a row: the run goes on.
        """
        if len(self._parts) <= self._most_parts:
            return
        try:
            for group in groups(tuple(self._parts), MERGED_ROWS):
                made = replace(self._folder, group, read_whole(self._folder, group))
                first = self._parts.index(group[0])
                self._parts[first : first + len(group)] = [made]
        except FileMissing:  # another driver is at it: the parts are its own now
            self._parts = []
        except (RecordError, StorageError) as error:
            logger.warning("parts of the ledger stay as many as they are: %s", error)
            self._parts = []
        self._most_parts = len(self._parts) + MORE_PARTS


def read_ledger(output: str, run_id: str) -> Parts:
    """Return the row that counts for each item of a run; empty when nothing was done yet.

    Raises:
        RecordError: a part is damaged or belongs to another run; says which.
        StorageError: the ledger cannot be read.
    """
    folder = RunFiles(storage.absolute(output), run_id).ledger
    return Parts(folder, check=partial(_check, run_id))


def _check(run_id: str, uri: str, part: pa.Table) -> None:
    foreign = set(part["run_id"].unique().to_pylist()) - {run_id}
    if foreign:
        raise RecordError(
            f"{uri} belongs to run {min(filter(None, foreign), default='unknown')}, not to "
            f"{run_id}; move it away"
        )
