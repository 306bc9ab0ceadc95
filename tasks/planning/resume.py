"""Find the items of a plan that earlier attempts or runs have completed."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from schemas.arrow import from_table
from schemas.result import ItemResult
from tasks.records.finished_files import FinishedFiles
from tasks.records.finished_items import read_finished
from tasks.records.index import FAILED, OK, REJECTED, STATUSES, RowIndex, key_hashes
from tasks.records.layout import RunFiles
from tasks.records.ledger import read_ledger
from tasks.records.parts import Parts
from tasks.records.plan_parts import PlanItems, has_problem

Mask = NDArray[np.bool_]

_SAMPLES = 200


@dataclass(frozen=True, eq=False)
class CompletedItems:
    """Which of a plan's N items are complete; the arrays are in the plan's order.

    Attributes:
        status: (N,) index into STATUSES of the row that completes the item; 0 for an item to do.
        reused: (N,) true where that row comes from the table of finished items instead of the
            run's own ledger.
        may_exist: (N,) true where an asset may exist without a row, or exists without all of its
            region maps.
        damaged: (N,) true where an asset is missing or does not have the SHA-256 of its row.
        samples: Some of the rows, for the cost estimate.
        ledger: The run's own ledger; None if `_SUCCESS` made reading it unnecessary.
    """

    status: NDArray[np.int64]
    reused: Mask
    may_exist: Mask
    damaged: Mask
    samples: list[ItemResult]
    ledger: Parts | None

    @classmethod
    def all_done(cls, count: int) -> "CompletedItems":
        """Mark all of `count` items as complete, for a run that has its `_SUCCESS`."""
        nothing = np.zeros(count, bool)
        return cls(np.full(count, OK), nothing, nothing, nothing, [], None)

    @property
    def done(self) -> Mask:
        """(N,) true where nothing is left to do."""
        return self.status > 0

    def count(self, status: str) -> int:
        """Return how many items have this status."""
        return int((self.status == STATUSES.index(status)).sum())


def find_completed(
    run: RunFiles, items: PlanItems, *, check_assets: bool = False
) -> CompletedItems:
    """Look up a plan's items in the run's ledger and in the table of finished items.

    Args:
        run: Files of the run.
        items: Items of its plan.
        check_assets: Count an ok row only if its asset and its region maps exist with the recorded
            SHA-256. Reads every one of these files; without it, only the tables are read.

    Raises:
        RecordError: a table of an earlier run is damaged.
        StorageError: the output cannot be read.
    """
    finished, ledger = read_finished(run.output), read_ledger(run)
    started_before = run.record.exists()
    statuses, reused, may_exist, damaged, samples = [], [], [], [], list[ItemResult]()
    files = FinishedFiles(run.output)
    for _, part in items.parts():
        keys = key_hashes(part)
        in_ledger, in_finished = ledger.positions(keys), finished.positions(keys)
        status = ledger.statuses(keys)
        from_finished = (status != OK) & (in_finished >= 0)
        status = np.where(from_finished, OK, status)
        has_row = status > 0
        assets, maps = np.ones(len(part), bool), np.ones(len(part), bool)
        if has_problem(part):
            status, from_finished = np.full(len(part), REJECTED), np.zeros(len(part), bool)
        elif check_assets:
            for index, positions, here in (
                (finished, in_finished, from_finished),
                (ledger, in_ledger, ~from_finished),
            ):
                here = here & (status == OK)
                assets[here], maps[here] = files.are_intact(index.rows(positions[here]))
            status = np.where(assets & maps, status, 0)
        status = np.where(status != FAILED, status, 0)
        statuses.append(status)
        reused.append(from_finished & (status > 0))
        # A crashed attempt may have written an asset whose row was lost.
        may_exist.append((~has_row & started_before) | (assets & ~maps))
        damaged.append(~assets)
        if len(samples) < _SAMPLES:
            samples += _sample_rows(ledger, in_ledger[(status == OK) & ~from_finished])
            samples += _sample_rows(finished, in_finished[(status == OK) & from_finished])
    return CompletedItems(
        np.concatenate(statuses),
        np.concatenate(reused),
        np.concatenate(may_exist),
        np.concatenate(damaged),
        samples,
        ledger,
    )


def refresh(completed: CompletedItems, items: PlanItems) -> CompletedItems:
    """Add the rows that an attempt has written to the ledger since :func:`find_completed`.

    Rows from before keep the result of their check.

    Raises:
        RecordError: the ledger is damaged.
        StorageError: the ledger cannot be read.
    """
    if completed.ledger is None:
        return completed
    before, ledger = completed.ledger, completed.ledger.refreshed()
    completed = replace(completed, ledger=ledger)
    keys = np.concatenate([key_hashes(part) for _, part in items.parts()])
    positions = ledger.positions(keys)
    if not (positions >= 0).any():
        return completed
    # A row is new if its time differs. Drivers' clocks differ, so a new row may be "older".
    changed = before.finished_times(keys) != ledger.finished_times(keys)
    new = (positions >= 0) & changed & (ledger.status[positions] != FAILED)
    if not new.any():
        return completed
    return replace(
        completed,
        status=np.where(new, ledger.status[positions], completed.status),
        reused=completed.reused & ~new,
        may_exist=np.ones(len(keys), bool),  # that attempt may have lost rows of written assets
    )


def _sample_rows(index: RowIndex, positions: NDArray[np.int64]) -> list[ItemResult]:
    return from_table(index.rows(positions[:_SAMPLES]), ItemResult)
