"""Runs that finish together in one output: each adds its rows to the table of finished items."""

import json
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import patch

from schemas.arrow import from_table, to_table
from schemas.result import ItemResult
from tasks.records import finished_items
from tasks.records.finished_items import add_finished, read_finished
from tasks.records.layout import LATEST
from tasks.storage import StoragePath

_MOST_PARTS = 4
"""So few that every run compacts parts that other runs are about to read."""


def close_together(output: str, runs: int) -> list[str]:
    """Let runs add one item each at the same time; return the problems, one sentence each."""
    names = [f"p{number:03d}" for number in range(runs)]
    with patch.object(finished_items, "_MOST_PARTS", _MOST_PARTS), ThreadPoolExecutor(runs) as pool:
        faults = [task.exception() for task in [pool.submit(_close, output, n) for n in names]]
    problems = [f"a run that closes beside others: {fault!r}" for fault in faults if fault]
    root = StoragePath.parse(output)
    finished = read_finished(root)
    rows = from_table(finished.rows(finished.in_order()), ItemResult)
    if sorted(row.product_id for row in rows) != names:
        problems.append(f"{len(rows)} items of {runs} runs that closed together are finished")
    about = json.loads((root / LATEST).read_bytes())
    if about["tables"] != [f"catalog/{part.name}" for part in finished.parts]:
        problems.append("LATEST.json does not name the parts of runs that closed together")
    return problems


def _close(output: str, name: str) -> None:
    row = ItemResult(
        item_id=name, product_id=name, view="main", gallery_id="g", status="ok", run_id=name
    )
    add_finished(StoragePath.parse(output), [to_table([row], ItemResult)])
