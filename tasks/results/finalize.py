"""Close a run: write result tables, retry manifest, finished items, run.json and `_SUCCESS`."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
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
from tasks.items.warnings import first_warnings, has_warning, unique_warnings
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
from tasks.records.students import student_warnings
from tasks.records.success import write_marker


@dataclass(frozen=True, eq=False)
class ResultPart:
    """The results of one part of a plan.

    Attributes:
        name: File name of the part.
        items: Planned items.
        rows: One result per item, in the same order, with the columns of ItemResult.
        computed: (N,) bool: False where the result is reused from an earlier run.
    """

    name: str
    items: pa.Table
    rows: pa.Table
    computed: Mask

    def has_status(self, status: str) -> Mask:
        """Return (N,) bool: whether a result has this status."""
        mask: Mask = pc.equal(self.rows["status"], status).to_numpy()
        return mask

    def matches(self) -> pa.Table:
        """Return one row per item and content region: the item's key and the match."""
        lists = self.rows["matches"].combine_chunks()
        keys = self.rows.select(KEYS).take(pc.list_parent_indices(lists))
        fields = arrow_schema(MatchRow)
        flat = pa.Table.from_struct_array(pc.list_flatten(lists)).cast(fields)
        return pa.table([*keys.columns, *flat.columns], schema=pa.schema([*keys.schema, *fields]))


def check_complete(plan: Plan, own: RowIndex, finished: RowIndex) -> None:
    """Check that every item of a run has a result.

    Args:
        plan: Plan of the run.
        own: Index of the run's ledger.
        finished: Index of the finished items of all runs.

    Raises:
        IncompleteRunError: items have no result; the message counts them and names the first.
    """
    missing, first = 0, ""
    for source in _row_sources(plan, own, finished):
        if has_problem(source.items):
            continue
        positions = np.where(source.reused, source.finished, source.own)
        gaps = np.flatnonzero(positions < 0)
        if len(gaps) and not first:
            product, view, gallery = (
                source.items[name][int(gaps[0])].as_py()
                for name in ("product_id", "view", "gallery_id")
            )
            first = f"{product}/{view} in {gallery}"
        missing += len(gaps)
    if missing:
        raise IncompleteRunError(
            f"{missing} of {len(plan.items)} items have no result yet, the first being {first}; "
            "run the same command again"
        )


def result_parts(plan: Plan, own: RowIndex, finished: RowIndex) -> Iterator[ResultPart]:
    """Yield the results of a complete run part by part; arguments as in :func:`check_complete`.

    Raises:
        RecordError: the rows found do not belong to the planned items.
        StorageError: the rows cannot be read.
    """
    for source in _row_sources(plan, own, finished):
        reused, items = source.reused, source.items
        if has_problem(items):
            yield ResultPart(source.name, items, _rejected(plan, items), ~reused)
            continue
        ours, others = own.rows(source.own[~reused]), finished.rows(source.finished[reused])
        # Reused rows are marked as such and get the extra columns of the present catalog.
        others = _with_column(others, "reused", pa.array(np.ones(len(others), bool)))
        extra = items["extra"].take(pa.array(np.flatnonzero(reused)))
        others = _with_column(others, "extra", extra)
        order = np.argsort(np.concatenate([np.flatnonzero(~reused), np.flatnonzero(reused)]))
        rows = pa.concat_tables([ours, others]).take(pa.array(order))
        if not same_keys(rows, items):
            raise RecordError(
                f"rows of {plan.run_id} do not match its planned items; run the same command again"
            )
        yield ResultPart(source.name, items, rows, ~reused)


def _rejected(plan: Plan, items: pa.Table) -> pa.Table:
    """Return the results of items that were rejected during planning."""
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
class _RowSource:
    """Where the rows of a part are: at `finished` where `reused` is True, else at `own`.

    `own` and `finished` are (N,) positions in the two indexes, -1 where there is no row.
    """

    name: str
    items: pa.Table
    reused: Mask
    own: Numbers
    finished: Numbers


def _row_sources(plan: Plan, own: RowIndex, finished: RowIndex) -> Iterator[_RowSource]:
    offset = 0
    for name, items in plan.items.parts():
        keys = key_hashes(items)
        reused = plan.completed.reused[offset : offset + len(items)] & (own.statuses(keys) != OK)
        offset += len(items)
        yield _RowSource(name, items, reused, own.positions(keys), finished.positions(keys))


def _with_column(table: pa.Table, name: str, column: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Return the table with one column replaced."""
    place = table.schema.names.index(name)
    return table.set_column(place, table.schema.field(place), column)


@dataclass
class _Totals:
    """Totals of the written parts.

    Attributes:
        counts: Fields of RunSummary.
        warnings: Distinct warnings.
        failed: By part name, (N,) bool: the failed items. Parts without one are left out.
        computed: By part name, (N,) bool: the ok items that this run computed, likewise.
    """

    counts: Counter[str] = field(default_factory=Counter)
    warnings: set[str] = field(default_factory=set)
    failed: dict[str, Mask] = field(default_factory=dict)
    computed: dict[str, Mask] = field(default_factory=dict)

    def add(self, part: ResultPart) -> None:
        """Count a part."""
        ok, failed = part.has_status("ok"), part.has_status("failed")
        masks = {
            "ok": ok,
            "rejected": part.has_status("rejected"),
            "failed": failed,
            "reused": part.rows["reused"].to_numpy() & ok,
            "warned": has_warning(part.rows),
        }
        self.counts.update({name: int(mask.sum()) for name, mask in masks.items()})
        self.warnings |= unique_warnings(part.rows)
        if failed.any():
            self.failed[part.name] = failed
        if (computed := ok & part.computed).any():
            self.computed[part.name] = computed


def write_results(plan: Plan) -> RunSummary:
    """Write results, matches, the retry manifest and the table of finished items.

    A report can be built after this. A repeated call writes the same files.

    Raises:
        IncompleteRunError: items have no result yet.
        RecordError: the ledger or an earlier table is damaged.
        StorageError: the output cannot be read or written.
    """
    if plan.summary:
        return plan.summary
    own = read_ledger(plan.files)
    # Read anew: another run may have merged the finished items since the plan was made.
    finished = read_finished(plan.files.output)
    check_complete(plan, own, finished)
    totals = _write_parts(plan, result_parts(plan, own, finished))
    add_finished(plan.files.output, _computed_rows(plan, totals.computed))
    if totals.failed:
        manifest = retry_manifest(partial(_failed_items, plan, totals.failed))
        plan.files.retry.write_bytes(manifest)
    else:
        plan.files.retry.delete()
    warnings = first_warnings(totals.warnings | student_warnings(plan.files))
    return RunSummary.model_validate({**totals.counts, "warnings": warnings})


def _write_parts(plan: Plan, parts: Iterable[ResultPart]) -> _Totals:
    """Write the parts of results and matches, delete other parts there, and return totals."""
    totals, names = _Totals(), set()
    for part in parts:
        names.add(part.name)
        for folder, table in (
            (plan.files.results, part.rows),
            (plan.files.matches, part.matches()),
        ):
            (folder / part.name).write_bytes(parquet.to_bytes(table))
        totals.add(part)
    for folder in (plan.files.results, plan.files.matches):
        parquet.keep_only(folder, names)
    return totals


def _computed_rows(plan: Plan, computed: dict[str, Mask]) -> Iterator[pa.Table]:
    """Read the written results again and yield those that this run computed."""
    for name, mask in computed.items():
        rows = parquet.read_rows_table(plan.files.results / name, ItemResult)
        yield rows.filter(pa.array(mask))


def _failed_items(plan: Plan, failed: dict[str, Mask]) -> Iterator[pa.Table]:
    for name, items in plan.items.parts():
        if name in failed:
            yield items.filter(pa.array(failed[name]))


def finalize(
    spec: RestyleSpec, run_id: str, plan: Plan, summary: RunSummary | None = None
) -> RunSummary:
    """Close a run: write the tables unless `summary` is given, then run.json and `_SUCCESS`.

    Args:
        spec: The run's spec, as given.
        run_id: The run.
        plan: Its plan.
        summary: Result of :func:`write_results`, if that was called before.

    Raises:
        IncompleteRunError: items have no result yet; the run stays open.
        RecordError: the ledger or an earlier table is damaged, or `plan` belongs to another run.
        StorageError: the output cannot be read or written.
    """
    if run_id != plan.run_id or storage.folder_uri(spec.output) != plan.spec.output:
        raise RecordError(f"the plan belongs to {plan.run_id}, not to {run_id}; plan again")
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
    """Write the end of a run into run.json, unless another driver has finished the run.

    Args:
        plan: Plan of the run.
        state: How the run ended.
        summary: Its counts, if it finished.
        message: Why it did not finish.

    Raises:
        RecordError: run.json is damaged.
        StorageError: the output cannot be read or written.
    """
    record = read_record(plan.files)
    finished = record.state == "finished" and plan.files.success.exists()
    if finished and state != "finished":
        return
    ending = {
        "state": state,
        "ended_at": datetime.now(UTC),
        "summary": summary,
        "message": message,
    }
    write_record(plan.files, record.model_copy(update=ending))
