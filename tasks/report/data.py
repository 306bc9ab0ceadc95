"""Read the data of a report from a run's tables: totals of all items, details of those shown."""

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.arrow import from_table
from schemas.evaluation import EvaluationSummary, ItemEvaluation
from schemas.result import ItemResult
from schemas.run import RunSummary
from schemas.students import StudentComparison
from schemas.work import WorkItem
from tasks.evaluation.reader import evaluations, flagged_ids, read_summary
from tasks.items.warnings import first_warnings, has_warning, unique_warnings
from tasks.records import parquet
from tasks.records.item_key import ItemKey
from tasks.records.layout import RunFiles
from tasks.records.plan_parts import RunPlan
from tasks.records.students import read_comparisons
from tasks.report.cards import Timings, timings
from tasks.report.charts import Chart, charts


@dataclass(frozen=True)
class ReportData:
    """Data of a report.

    Attributes:
        summary: Counts.
        galleries: Sorted ids of the galleries.
        methods: Sorted methods that made assets.
        timings: Mean seconds by stage.
        shown: Results with an asset: all, or an even sample. Sorted by product, so that the
            results of all galleries are side by side.
        items: Planned items of those results, by item id.
        failed_or_rejected: The first results without an asset.
        evaluated: Metrics of the results shown, by item, if the run was evaluated.
        charts: Histograms of metrics over all items.
        evaluation: Summary of the evaluation; None if the run was not evaluated.
        students: Learnt styles compared with the method that learns nothing, by gallery.
    """

    summary: RunSummary
    galleries: list[str]
    methods: list[str]
    timings: Timings
    shown: list[ItemResult]
    items: dict[str, WorkItem]
    failed_or_rejected: list[ItemResult]
    evaluated: dict[ItemKey, ItemEvaluation]
    charts: list[Chart]
    evaluation: EvaluationSummary | None
    students: list[StudentComparison]


def read_report_data(files: RunFiles, max_shown: int, max_failed_or_rejected: int) -> ReportData:
    """Read the tables of a run part by part.

    Raises:
        RecordError: a table is damaged.
        StorageError: a table is missing or cannot be read.
    """
    counts: Counter[str] = Counter()
    galleries: set[str] = set()
    methods: set[str] = set()
    warnings: set[str] = set()
    for _, part in parquet.read_parts(files.results, ItemResult):
        counts.update(part["status"].to_pylist())
        counts["reused"] += pc.sum(pc.and_(part["reused"], _is_ok(part))).as_py() or 0
        counts["warned"] += int(has_warning(part).sum())
        warnings |= unique_warnings(part)
        galleries |= set(part["gallery_id"].unique().to_pylist())
        methods |= set(filter(None, part["method"].unique().to_pylist()))
    students = read_comparisons(files)
    warnings |= {one.warning() for one in students if one.shortcomings}
    evaluation = read_summary(files)
    counts["flagged"] = evaluation.flagged if evaluation else 0
    flagged = (
        flagged_ids(files, max_shown // 2) if evaluation and counts["ok"] > max_shown else set()
    )
    shown, items = _sample(files, counts["ok"], max_shown - len(flagged), flagged)
    return ReportData(
        RunSummary.model_validate({**counts, "warnings": first_warnings(warnings)}),
        sorted(galleries),
        sorted(methods),
        timings(_measured(files)),
        sorted(shown, key=lambda r: (r.product_id, r.view, r.gallery_id)),
        items,
        first_failed_or_rejected(files, max_failed_or_rejected)
        if counts["rejected"] + counts["failed"]
        else [],
        evaluations(files, shown) if evaluation else {},
        charts(files, evaluation),
        evaluation,
        students,
    )


def first_failed_or_rejected(files: RunFiles, most: int) -> list[ItemResult]:
    """Return the first results without an asset: failed ones, then rejected ones.

    Raises:
        RecordError: a table is damaged.
        StorageError: a table is missing or cannot be read.
    """
    found = (
        row
        for _, part in parquet.read_parts(files.results, ItemResult)
        for row in from_table(part.filter(pc.invert(_is_ok(part))), ItemResult)
    )
    return heapq.nsmallest(most, found, lambda r: (r.status, r.product_id, r.view, r.gallery_id))


def _is_ok(part: pa.Table) -> pa.ChunkedArray:
    return pc.equal(part["status"], "ok")


def _sample(
    files: RunFiles, count: int, most: int, also: set[str]
) -> tuple[list[ItemResult], dict[str, WorkItem]]:
    """Return an even sample of the `count` ok results, with their planned items.

    Args:
        files: Files of the run.
        count: Number of ok results.
        most: Size of the sample.
        also: Item ids to include in addition.
    """
    wanted = np.unique(np.arange(min(most, count)) * count // max(min(most, count), 1))
    shown, items, before = list[ItemResult](), dict[str, WorkItem](), 0
    if not len(wanted):
        return shown, items
    plan = RunPlan(files)
    for name, part in parquet.read_parts(files.results, ItemResult):
        good = part.filter(_is_ok(part))
        here = wanted[(wanted >= before) & (wanted < before + len(good))] - before
        before += len(good)
        if also:
            chosen = pc.is_in(good["item_id"], pa.array(sorted(also), pa.string()))
            here = np.union1d(here, np.flatnonzero(chosen.to_numpy()))
        if not len(here):
            continue
        rows = from_table(good.take(pa.array(here)), ItemResult)
        planned = plan.part(name)
        ids = pa.array([row.item_id for row in rows], pa.string())
        few = planned.filter(pc.is_in(planned["item_id"], ids))
        items |= {item.item_id: item for item in plan.items(few)}
        shown += [row for row in rows if row.item_id in items]
    return shown, items


def _measured(files: RunFiles) -> Iterator[dict[str, float]]:
    for _, part in parquet.read_parts(files.results, ItemResult):
        own = part.filter(pc.and_(_is_ok(part), pc.invert(part["reused"])))
        yield from own["timings"].to_pylist(maps_as_pydicts="strict")
