"""The end of a run: one row per item asked for, tables for readers, the record, `_SUCCESS`."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Literal

import pyarrow as pa

from schemas.run import RestyleSpec, RunSummary
from tasks import storage, tables
from tasks.catalog_table import add_finished, read_finished
from tasks.errors import RecordError
from tasks.known import Mask
from tasks.ledger import read_ledger
from tasks.planning import Plan, write_record
from tasks.results import Part, check_whole, result_parts
from tasks.retry_manifest import retry_manifest
from tasks.run_record import read_record
from tasks.success_mark import write_mark
from tasks.warned import first, is_warned, sentences


def write_results(plan: Plan) -> RunSummary:
    """Write results, matches, the retry manifest and the table of finished items.

    A report can be built after this. Doing it again gives the same files.

    Raises:
        IncompleteRunError: items have no row yet.
        RecordError: the ledger or an earlier table is damaged.
        StorageError: the output cannot be read or written.
    """
    if plan.closed:
        return plan.closed
    # Read anew: since the plan was made, another run may have put the finished items together.
    known = read_ledger(plan.spec.output, plan.run_id), read_finished(plan.spec.output)
    check_whole(plan, *known)
    counts: Counter[str] = Counter()
    failed: dict[str, Mask] = {}
    warnings: set[str] = set()
    parts = result_parts(plan, *known)
    add_finished(plan.spec.output, _write_parts(plan, parts, counts, failed, warnings))
    if failed:
        manifest = retry_manifest(partial(_failed_items, plan, failed))
        storage.write_bytes(plan.files.retry, manifest)
    else:
        storage.delete(plan.files.retry)
    return RunSummary.model_validate({**counts, "warnings": first(warnings)})


def _write_parts(
    plan: Plan,
    parts: Iterable[Part],
    counts: Counter[str],
    failed: dict[str, Mask],
    warnings: set[str],
) -> Iterator[pa.Table]:
    """Write the parts of results and matches; yield the rows of what this run computed."""
    names = set()
    for part in parts:
        names.add(part.name)
        storage.write_bytes(storage.join(plan.files.results, part.name), tables.to_bytes(part.rows))
        storage.write_bytes(
            storage.join(plan.files.matches, part.name), tables.to_bytes(part.matches())
        )
        counts.update(_counts(part))
        warnings |= sentences(part.rows)
        if (mask := part.ended("failed")).any():
            failed[part.name] = mask
        yield part.rows.filter(pa.array(part.ended("ok") & part.computed))
    for folder in (plan.files.results, plan.files.matches):
        tables.keep_only(folder, names)


def _failed_items(plan: Plan, failed: dict[str, Mask]) -> Iterator[pa.Table]:
    for name, items in plan.items.parts():
        if name in failed:
            yield items.filter(pa.array(failed[name]))


def _counts(part: Part) -> dict[str, int]:
    ended = {status: part.ended(status) for status in ("ok", "rejected", "failed")}
    reused = part.rows["reused"].to_numpy() & ended["ok"]
    masks = {**ended, "reused": reused, "warned": is_warned(part.rows)}
    return {name: int(mask.sum()) for name, mask in masks.items()}


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
    if run_id != plan.run_id or storage.folder(spec.output) != plan.spec.output:
        raise RecordError(f"the plan is of {plan.run_id}, not of {run_id}; plan again")
    summary = summary or write_results(plan)
    close_record(plan, "finished", summary)
    write_mark(plan.files, plan.spec, plan.items, summary)
    return summary


def close_record(
    plan: Plan,
    state: Literal["finished", "cancelled", "crashed"],
    summary: RunSummary | None = None,
    message: str = "",
) -> None:
    """Write into run.json how a run ended, unless it stands there as finished with its mark.

    Args:
        plan: Of the run.
        state: How it ended.
        summary: Its numbers, when it finished.
        message: Why it did not finish, in a sentence.

    Raises:
        RecordError: run.json is damaged.
        StorageError: the output cannot be read or written.
    """
    record = read_record(plan.files)
    ended = record.state == "finished" and storage.exists(plan.files.success)
    if ended and state != "finished":
        return  # another driver ended it
    ending = {
        "state": state,
        "ended_at": datetime.now(UTC),
        "summary": summary,
        "message": message,
    }
    write_record(plan.files, record.model_copy(update=ending))
