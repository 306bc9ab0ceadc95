"""What earlier attempts and runs left of a plan's items: one look before they are done."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.arrow import from_table
from schemas.result import ItemResult
from schemas.work import asset_key
from tasks import storage
from tasks.catalog_table import read_finished
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
        standing: (N,) true where an asset may stand although no row tells of it.
        samples: Some of the rows, to judge by what items cost.
        own: Rows of the run's own ledger; None where `_SUCCESS` spares the look.
    """

    status: NDArray[np.int64]
    taken_over: Mask
    standing: Mask
    samples: list[ItemResult]
    own: Parts | None

    @classmethod
    def all_done(cls, count: int) -> "Known":
        """Say of as many items that nothing is left to do, as `_SUCCESS` says of their run."""
        nothing = np.zeros(count, bool)
        return cls(np.full(count, OK), nothing, nothing, [], None)

    @property
    def done(self) -> Mask:
        """(N,) true where nothing is left to do."""
        return self.status > 0

    def count(self, status: str) -> int:
        """Return how many items have ended so."""
        return int((self.status == STATUSES.index(status)).sum())


def look_up(output: str, run_id: str, items: PlanItems, *, check_assets: bool = False) -> Known:
    """Find rows that spare work, in the tables alone: never an object is asked for.

    Args:
        output: Absolute URI of the output root.
        run_id: The run.
        items: Of its plan.
        check_assets: Let an ok row count only while its asset is there, whole. That costs one list
            of each gallery's folder.

    Raises:
        RecordError: an earlier run left damaged tables.
        StorageError: the output cannot be read.
    """
    finished, own = read_finished(output), read_ledger(output, run_id)
    begun = storage.exists(RunFiles(output, run_id).record)
    status, taken_over, standing, samples = [], [], [], list[ItemResult]()
    for part, sizes in _with_sizes(output, items, check_assets):
        keys = hashes(part)
        mine, theirs = own.positions(keys), finished.positions(keys)
        found = own.found(keys)
        other = (found != OK) & (theirs >= 0)
        found = np.where(other, OK, found)
        rows = found > 0
        if has_problem(part):
            found, other = np.full(len(part), REJECTED), np.zeros(len(part), bool)
        elif sizes is not None:
            wanted = np.where(other, _at(finished, theirs), _at(own, mine))
            found = np.where((found != OK) | (wanted == sizes), found, 0)
        found = np.where(found != FAILED, found, 0)
        status.append(found)
        taken_over.append(other & (found > 0))
        # What an attempt before this one had in hand may stand although its row was lost.
        standing.append(~rows & begun)
        if len(samples) < _SAMPLES:
            samples += _some(own, mine[(found == OK) & ~other])
            samples += _some(finished, theirs[(found == OK) & other])
    return Known(
        np.concatenate(status),
        np.concatenate(taken_over),
        np.concatenate(standing),
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


def _with_sizes(
    output: str, items: PlanItems, wanted: bool
) -> Iterator[tuple[pa.Table, NDArray[np.int64] | None]]:
    """Yield the parts of a plan and, if wanted, the bytes of each item's asset, -1 for none."""
    listed, sizes = "", dict[str, int]()
    for _, part in items.parts():
        if not wanted or has_problem(part):
            yield part, None
            continue
        columns = ("gallery_id", "product_id", "view", "item_id", "image_format")
        rows = zip(*(part[name].to_pylist() for name in columns), strict=True)
        keys = [asset_key(*row) for row in rows]
        folder = "/".join(keys[0].split("/")[:2])
        if folder != listed:
            sizes = storage.list_files(storage.join(output, folder))
            listed = folder
        yield part, np.array([sizes.get(key.removeprefix(f"{folder}/"), -1) for key in keys])


def _some(index: RowIndex, places: NDArray[np.int64]) -> list[ItemResult]:
    return from_table(index.rows(places[:_SAMPLES]), ItemResult)


def _at(index: RowIndex, places: NDArray[np.int64]) -> NDArray[np.int64]:
    return index.asset_bytes[places] if len(index) else np.full(len(places), -1)
