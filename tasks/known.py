"""What earlier attempts and runs left of a plan's items: one look before they are done."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from schemas.arrow import from_table
from schemas.result import ItemResult
from tasks import storage
from tasks.catalog_table import read_finished
from tasks.finished_files import FinishedFiles
from tasks.ledger import read_ledger
from tasks.parts import Parts
from tasks.plan_items import PlanItems, has_problem
from tasks.row_index import FAILED, OK, REJECTED, STATUSES, RowIndex, hashes
from tasks.run_files import RunFiles

Mask = NDArray[np.bool_]

_SAMPLES = 200


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of each item of a plan, in its order.

    Attributes:
        status: (N,) number in STATUSES of the row that spares the work, 0 where there is none.
        taken_over: (N,) true where that row is one of finished items, not of the run's own ledger.
        standing: (N,) true where an asset may stand although no row tells of it, or where it does
            and its region maps do not.
        spoilt: (N,) true where an asset is gone or holds other bytes than its row tells of.
        samples: Some of the rows, to judge by what items cost.
        own: Rows of the run's own ledger; None where `_SUCCESS` spares the look.
    """

    status: NDArray[np.int64]
    taken_over: Mask
    standing: Mask
    spoilt: Mask
    samples: list[ItemResult]
    own: Parts | None

    @classmethod
    def all_done(cls, count: int) -> "Known":
        """Say of as many items that nothing is left to do, as `_SUCCESS` says of their run."""
        nothing = np.zeros(count, bool)
        return cls(np.full(count, OK), nothing, nothing, nothing, [], None)

    @property
    def done(self) -> Mask:
        """(N,) true where nothing is left to do."""
        return self.status > 0

    def count(self, status: str) -> int:
        """Return how many items have ended so."""
        return int((self.status == STATUSES.index(status)).sum())


def look_up(output: str, run_id: str, items: PlanItems, *, check_assets: bool = False) -> Known:
    """Find rows that spare work, in the tables alone unless `check_assets` is set.

    Args:
        output: Absolute URI of the output root.
        run_id: The run.
        items: Of its plan.
        check_assets: Let an ok row count only while its asset and its region maps are there,
            whole. That reads each of these files.

    Raises:
        RecordError: an earlier run left damaged tables.
        StorageError: the output cannot be read.
    """
    finished, own = read_finished(output), read_ledger(output, run_id)
    begun = storage.exists(RunFiles(output, run_id).record)
    status, taken_over, standing, spoilt, samples = [], [], [], [], list[ItemResult]()
    files = FinishedFiles(output)
    for _, part in items.parts():
        keys = hashes(part)
        mine, theirs = own.positions(keys), finished.positions(keys)
        found = own.found(keys)
        other = (found != OK) & (theirs >= 0)
        found = np.where(other, OK, found)
        rows = found > 0
        assets, maps = np.ones(len(part), bool), np.ones(len(part), bool)
        if has_problem(part):
            found, other = np.full(len(part), REJECTED), np.zeros(len(part), bool)
        elif check_assets:
            for index, places, here in ((finished, theirs, other), (own, mine, ~other)):
                here = here & (found == OK)
                assets[here], maps[here] = files.are_whole(index.rows(places[here]))
            found = np.where(assets & maps, found, 0)
        found = np.where(found != FAILED, found, 0)
        status.append(found)
        taken_over.append(other & (found > 0))
        # What an attempt before this one had in hand may stand although its row was lost.
        standing.append((~rows & begun) | (assets & ~maps))
        spoilt.append(~assets)
        if len(samples) < _SAMPLES:
            samples += _some(own, mine[(found == OK) & ~other])
            samples += _some(finished, theirs[(found == OK) & other])
    return Known(
        np.concatenate(status),
        np.concatenate(taken_over),
        np.concatenate(standing),
        np.concatenate(spoilt),
        samples,
        own,
    )


def since(known: Known, items: PlanItems) -> Known:
    """Add rows of an attempt that was cut short after the look before.

    Those there before were looked at then, and left out where their assets were gone.

    Raises:
        RecordError: the ledger is damaged.
        StorageError: it cannot be read.
    """
    if known.own is None:
        return known
    before, own = known.own, known.own.renewed()
    known = replace(known, own=own)
    keys = np.concatenate([hashes(part) for _, part in items.parts()])
    places = own.positions(keys)
    if not (places >= 0).any():
        return known
    # Told by being another row than before, as clocks differ from driver to driver.
    other = before.times(keys) != own.times(keys)
    fresh = (places >= 0) & other & (own.status[places] != FAILED)
    if not fresh.any():
        return known
    return replace(
        known,
        status=np.where(fresh, own.status[places], known.status),
        taken_over=known.taken_over & ~fresh,
        standing=np.ones(len(keys), bool),  # what was begun then may stand
    )


def _some(index: RowIndex, places: NDArray[np.int64]) -> list[ItemResult]:
    return from_table(index.rows(places[:_SAMPLES]), ItemResult)
