"""The tables of a run: exactly one row per item asked for, and one per item and region."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.arrow import arrow_schema
from schemas.result import MatchRow
from tasks.errors import IncompleteRunError, RecordError
from tasks.known import Mask
from tasks.planning import Plan
from tasks.row_index import KEYS, OK, Numbers, RowIndex, hashes, same_keys


@dataclass(frozen=True, eq=False)
class Part:
    """The rows of one part of a plan.

    Attributes:
        name: Its file's name.
        items: As planned.
        rows: One for each item, in the same order, with the columns of ItemResult.
        computed: (N,) true where the row is of this run, false where it is taken over.
    """

    name: str
    items: pa.Table
    rows: pa.Table
    computed: Mask

    def ended(self, status: str) -> Mask:
        """Return (N,) true where an item has ended so."""
        found: Mask = pc.equal(self.rows["status"], status).to_numpy()
        return found

    def matches(self) -> pa.Table:
        """Return one row per item and content region: the item's key, then the match."""
        lists = self.rows["matches"].combine_chunks()
        keys = self.rows.select(KEYS).take(pc.list_parent_indices(lists))
        fields = arrow_schema(MatchRow)
        flat = pa.Table.from_struct_array(pc.list_flatten(lists)).cast(fields)
        return pa.table([*keys.columns, *flat.columns], schema=pa.schema([*keys.schema, *fields]))


def check_whole(plan: Plan, own: RowIndex) -> None:
    """Refuse a run in which items have no row yet.

    Raises:
        IncompleteRunError: it is such a run; says how many, and names one.
    """
    missing, first = 0, ""
    for _, items, mine, over, _ in _choices(plan, own):
        gaps = np.flatnonzero((mine < 0) & ~over)
        if len(gaps) and not first:
            product, view, gallery = (
                items[name][int(gaps[0])].as_py() for name in ("product_id", "view", "gallery_id")
            )
            first = f"{product}/{view} in {gallery}"
        missing += len(gaps)
    if missing:
        raise IncompleteRunError(
            f"{missing} of {len(plan.items)} items have no result yet, the first being {first}; "
            "run the same command again"
        )


def result_parts(plan: Plan, own: RowIndex) -> Iterator[Part]:
    """Yield the rows of a run that is whole, part by part.

    Raises:
        RecordError: the rows found are not those of the plan.
        StorageError: they cannot be read.
    """
    finished = plan.known.finished
    for name, items, mine, over, theirs in _choices(plan, own):
        ours, others = own.rows(mine[~over]), finished.rows(theirs[over])
        # What is taken over is marked, and carries the columns of the present catalog.
        others = _replaced(others, "reused", pa.array(np.ones(len(others), bool)))
        others = _replaced(others, "extra", items["extra"].take(pa.array(np.flatnonzero(over))))
        order = np.argsort(np.concatenate([np.flatnonzero(~over), np.flatnonzero(over)]))
        rows = pa.concat_tables([ours, others]).take(pa.array(order))
        if not same_keys(rows, items):
            raise RecordError(
                f"rows of {plan.run_id} are not of the items planned; run the same command again"
            )
        yield Part(name, items, rows, ~over)


def _choices(plan: Plan, own: RowIndex) -> Iterator[tuple[str, pa.Table, Numbers, Mask, Numbers]]:
    """Yield part by part where an item's own row stands, and where one that is taken over.

    Name, items, positions in `own`, which rows are taken over, positions of those.
    """
    offset = 0
    for name, items in plan.items.parts():
        keys = hashes(items)
        mine = own.positions(keys)
        over = plan.known.taken_over[offset : offset + len(items)] & (own.found(keys) != OK)
        offset += len(items)
        yield name, items, mine, over, plan.known.finished.positions(keys)


def _replaced(table: pa.Table, name: str, column: pa.Array | pa.ChunkedArray) -> pa.Table:
    place = table.schema.names.index(name)
    return table.set_column(place, table.schema.field(place), column)
