"""The index of rows: which one counts, and in which order they come."""

import itertools
from pathlib import Path

from schemas.arrow import from_table, to_table
from schemas.result import ItemResult
from tasks.records import parquet
from tasks.records.index import STATUSES, RowIndex, key_hashes
from tests.tasks.places import at
from tests.tasks.rows import row


def index_of(*parts: list[ItemResult]) -> RowIndex:
    named = [(at(f"{number}"), to_table(part, ItemResult)) for number, part in enumerate(parts)]
    return RowIndex(named)


def test_an_ok_row_wins_in_any_order() -> None:
    rows = [row("failed"), row("ok"), row("failed", attempts=2), row("rejected")]
    key = key_hashes(to_table([row()], ItemResult))
    for order in itertools.permutations(rows):
        for cut in range(5):
            index = index_of(list(order[:cut]), list(order[cut:]))
            assert len(index) == 1
            assert STATUSES[index.statuses(key)[0]] == "ok"
    other = key_hashes(to_table([row(product="other")], ItemResult))
    assert index.statuses(other).tolist() == [0]
    assert index_of().statuses(key).tolist() == [0]


def test_rows_are_returned_in_the_requested_order(tmp_path: Path) -> None:
    rows = [row(product=f"p{i}") for i in range(9)]
    files = [at(tmp_path / f"{k}.parquet") for k in range(3)]
    for k, file in enumerate(files):
        parquet.write_rows(file, rows[3 * k : 3 * k + 3], ItemResult)
    index = RowIndex((file, parquet.read_table(file)) for file in files)
    wanted = [rows[i] for i in (7, 0, 8, 4, 0, 3)]
    places = index.positions(key_hashes(to_table(wanted, ItemResult)))
    assert from_table(index.rows(places), ItemResult) == wanted
    assert index.rows(places[:0]).num_rows == 0
