"""The end of a run: one row per item asked for, tables for readers, the record, `_SUCCESS`."""

import hashlib
import json
from collections import Counter
from datetime import UTC, datetime
from typing import Literal

import pyarrow as pa

from schemas.arrow import arrow_schema
from schemas.result import ItemResult, MatchRow
from schemas.run import RestyleSpec, RunRecord, RunSummary
from tasks import storage, tables
from tasks.catalog_table import add_finished
from tasks.errors import IncompleteRunError, RecordError
from tasks.keys import ItemKey, key_of
from tasks.ledger import read_ledger
from tasks.planning import Plan, write_record
from tasks.retry_manifest import retry_table

MATCH_KEYS = ItemKey._fields


def write_results(plan: Plan) -> RunSummary:
    """Write results, matches, the retry manifest and the table of finished items.

    A report can be built after this. Doing it again gives the same files.

    Raises:
        IncompleteRunError: items have no row yet.
        RecordError: the ledger or an earlier table is damaged.
        StorageError: the output cannot be read or written.
    """
    rows = _rows(plan)
    tables.write_rows(plan.files.results, rows, ItemResult)
    storage.write_bytes(plan.files.matches, tables.to_bytes(match_table(rows)))
    retry = retry_table(plan.items, rows)
    if retry is None:
        storage.delete(plan.files.retry)
    else:
        storage.write_bytes(plan.files.retry, tables.to_bytes(retry))
    add_finished(plan.spec.output, [row for row in rows if row.status == "ok"])
    return _summary(rows)


def finalize(
    spec: RestyleSpec, run_id: str, plan: Plan, summary: RunSummary | None = None
) -> RunSummary:
    """Close a run: tables (unless `summary` shows they are written), record, `_SUCCESS`.

    Args:
        spec: Parameters of the run, as given.
        run_id: The run.
        plan: Its plan.
        summary: What :func:`write_results` returned, when a report was built in between.

    Raises:
        IncompleteRunError: items have no row yet; nothing is closed.
        RecordError: the ledger or an earlier table is damaged, or `plan` is of another run.
        StorageError: the output cannot be read or written.
    """
    if run_id != plan.run_id or storage.absolute(spec.output) != plan.spec.output:
        raise RecordError(f"the plan is of {plan.run_id}, not of {run_id}; plan again")
    summary = summary or write_results(plan)
    close_record(plan, "finished", summary)
    content = {
        "run_id": run_id,
        **summary.model_dump(),
        "results_sha256": hashlib.sha256(storage.read_bytes(plan.files.results)).hexdigest(),
    }
    storage.write_bytes(plan.files.success, f"{json.dumps(content, indent=2)}\n".encode())
    return summary


def close_record(
    plan: Plan,
    state: Literal["finished", "cancelled", "crashed"],
    summary: RunSummary | None = None,
    message: str = "",
) -> None:
    """Write into run.json how a run ended.

    Args:
        plan: Of the run.
        state: How it ended.
        summary: Its numbers, when it finished.
        message: Why it did not finish, in a sentence.

    Raises:
        StorageError: the output cannot be read or written.
    """
    record = RunRecord.model_validate_json(storage.read_bytes(plan.files.record))
    ending = {
        "state": state,
        "ended_at": datetime.now(UTC),
        "summary": summary,
        "message": message,
    }
    write_record(plan.files, record.model_copy(update=ending))


def match_table(rows: list[ItemResult]) -> pa.Table:
    """Return one row per item and content region: the item's key, then the match."""
    keys = arrow_schema(ItemResult)
    fields = [keys.field(name) for name in MATCH_KEYS] + list(arrow_schema(MatchRow))
    flat = [
        {**key_of(row)._asdict(), **match.model_dump()} for row in rows for match in row.matches
    ]
    return pa.Table.from_pylist(flat, schema=pa.schema(fields))


def _rows(plan: Plan) -> list[ItemResult]:
    """Return exactly one row per planned item, in the plan's order."""
    found = {**plan.done, **read_ledger(plan.spec.output, plan.run_id)}
    found |= {key: row for key, row in plan.done.items() if found[key].status != "ok"}
    keys = [key_of(item) for item in plan.items]
    missing = [key for key in keys if key not in found]
    if missing:
        first = missing[0]
        raise IncompleteRunError(
            f"{len(missing)} of {len(keys)} items have no result yet, the first being "
            f"{first.product_id}/{first.view} in {first.gallery_id}; run the same command again"
        )
    return [found[key] for key in keys]


def _summary(rows: list[ItemResult]) -> RunSummary:
    counts = Counter(row.status for row in rows)
    return RunSummary(
        ok=counts["ok"],
        rejected=counts["rejected"],
        failed=counts["failed"],
        reused=sum(row.reused for row in rows if row.status == "ok"),
    )
