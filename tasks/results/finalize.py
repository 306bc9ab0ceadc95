"""The end of a run: one row per item asked for, tables for readers, the record, `_SUCCESS`."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.arrow import arrow_schema, from_table, to_table
from schemas.result import ErrorInfo, ItemResult, MatchRow
from schemas.run import RestyleSpec, RunSummary
from schemas.work import PlannedItem
from tasks import storage
from tasks.errors import IncompleteRunError, RecordError
from tasks.items.warnings import first, is_warned, sentences
from tasks.manifests.retry import retry_manifest
from tasks.planning import Plan
from tasks.planning.resume import Mask
from tasks.records import parquet
from tasks.records.finished_items import add_finished, read_finished
from tasks.records.index import KEYS, OK, Numbers, RowIndex, key_hashes, same_keys
from tasks.records.item_key import key_of
from tasks.records.ledger import read_ledger
from tasks.records.plan_parts import has_problem
from tasks.records.run_record import read_record, write_record
from tasks.records.success import write_marker


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


def check_whole(plan: Plan, own: RowIndex, finished: RowIndex) -> None:
    """Refuse a run in which items have no row yet.

    Args:
        plan: Of the run.
        own: Its ledger.
        finished: The rows of all runs.

    Raises:
        IncompleteRunError: it is such a run; says how many, and names one.
    """
    missing, first = 0, ""
    for choice in _choices(plan, own, finished):
        if has_problem(choice.items):
            continue
        gaps = np.flatnonzero(np.where(choice.over, choice.theirs, choice.mine) < 0)
        if len(gaps) and not first:
            product, view, gallery = (
                choice.items[name][int(gaps[0])].as_py()
                for name in ("product_id", "view", "gallery_id")
            )
            first = f"{product}/{view} in {gallery}"
        missing += len(gaps)
    if missing:
        raise IncompleteRunError(
            f"{missing} of {len(plan.items)} items have no result yet, the first being {first}; "
            "run the same command again"
        )


def result_parts(plan: Plan, own: RowIndex, finished: RowIndex) -> Iterator[Part]:
    """Yield the rows of a run that is whole, part by part; arguments as for :func:`check_whole`.

    Raises:
        RecordError: the rows found are not those of the plan.
        StorageError: they cannot be read.
    """
    for choice in _choices(plan, own, finished):
        over, items = choice.over, choice.items
        if has_problem(items):
            yield Part(choice.name, items, _rejected(plan, items), ~over)
            continue
        ours, others = own.rows(choice.mine[~over]), finished.rows(choice.theirs[over])
        # What is taken over is marked, and carries the columns of the present catalog.
        others = _replaced(others, "reused", pa.array(np.ones(len(others), bool)))
        others = _replaced(others, "extra", items["extra"].take(pa.array(np.flatnonzero(over))))
        order = np.argsort(np.concatenate([np.flatnonzero(~over), np.flatnonzero(over)]))
        rows = pa.concat_tables([ours, others]).take(pa.array(order))
        if not same_keys(rows, items):
            raise RecordError(
                f"rows of {plan.run_id} are not of the items planned; run the same command again"
            )
        yield Part(choice.name, items, rows, ~over)


def _rejected(plan: Plan, items: pa.Table) -> pa.Table:
    """Return the rows of items that were rejected when they were planned."""
    return to_table(
        (
            ItemResult(
                **key_of(item)._asdict(),
                status="rejected",
                seed=item.seed,
                error=ErrorInfo(stage="plan", type="ManifestError", message=item.problem or ""),
                engine_fingerprint=plan.engine_fingerprint,
                run_id=plan.run_id,
                extra=item.extra,
            )
            for item in from_table(items, PlannedItem)
        ),
        ItemResult,
    )


@dataclass(frozen=True, eq=False)
class _Choice:
    """Where the rows of a part stand: positions in `own`, in `finished` where `over` is true."""

    name: str
    items: pa.Table
    over: Mask
    mine: Numbers
    theirs: Numbers


def _choices(plan: Plan, own: RowIndex, finished: RowIndex) -> Iterator[_Choice]:
    offset = 0
    for name, items in plan.items.parts():
        keys = key_hashes(items)
        over = plan.completed.reused[offset : offset + len(items)] & (own.statuses(keys) != OK)
        offset += len(items)
        yield _Choice(name, items, over, own.positions(keys), finished.positions(keys))


def _replaced(table: pa.Table, name: str, column: pa.Array | pa.ChunkedArray) -> pa.Table:
    place = table.schema.names.index(name)
    return table.set_column(place, table.schema.field(place), column)


def write_results(plan: Plan) -> RunSummary:
    """Write results, matches, the retry manifest and the table of finished items.

    A report can be built after this. Doing it again gives the same files.

    Raises:
        IncompleteRunError: items have no row yet.
        RecordError: the ledger or an earlier table is damaged.
        StorageError: the output cannot be read or written.
    """
    if plan.summary:
        return plan.summary
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
        storage.write_bytes(
            storage.join(plan.files.results, part.name), parquet.to_bytes(part.rows)
        )
        storage.write_bytes(
            storage.join(plan.files.matches, part.name), parquet.to_bytes(part.matches())
        )
        counts.update(_counts(part))
        warnings |= sentences(part.rows)
        if (mask := part.ended("failed")).any():
            failed[part.name] = mask
        yield part.rows.filter(pa.array(part.ended("ok") & part.computed))
    for folder in (plan.files.results, plan.files.matches):
        parquet.keep_only(folder, names)


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
    if run_id != plan.run_id or storage.folder_uri(spec.output) != plan.spec.output:
        raise RecordError(f"the plan is of {plan.run_id}, not of {run_id}; plan again")
    summary = summary or write_results(plan)
    close_record(plan, "finished", summary)
    write_marker(plan.files, plan.spec, plan.items, summary)
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
