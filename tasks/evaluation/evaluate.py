"""Evaluate a run: write metrics for each part of its results, and a summary.

A repeated evaluation computes only what has changed.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

from schemas.arrow import from_table, to_table
from schemas.evaluation import (
    EvaluationSummary,
    ExternalWeights,
    Gate,
    ItemEvaluation,
    check_measured,
)
from schemas.result import ItemResult
from schemas.run import PoolSpec
from schemas.text import one_line
from schemas.work import WorkItem
from stylegallery.metrics.inception import ArtInception
from stylegallery.metrics.item import MetricSuite
from tasks.cluster.parallel import map_unordered
from tasks.cluster.session import Layout, connected
from tasks.errors import FileMissing, RecordError
from tasks.evaluation.item import ItemEvaluator, failed_evaluation, measurement_name
from tasks.evaluation.totals import Totals
from tasks.records import parquet
from tasks.records.item_key import ItemKey, key_of
from tasks.records.layout import RunFiles
from tasks.records.plan_parts import RunPlan
from tasks.storage import StoragePath

OnMeasured = Callable[[int, int], None]
"""Called with the number of evaluated items and their total."""

Pair = tuple[ItemResult, WorkItem]

_SLICE, _TASK_ITEMS = 1_000, 16
"""Items per write, and items per Ray task."""


def evaluate(
    output: str,
    run_id: str,
    gates: Iterable[str] = (),
    pool: PoolSpec | None = None,
    weights: ExternalWeights | None = None,
    on_measured: OnMeasured = lambda _done, _total: None,
) -> EvaluationSummary:
    """Evaluate the results of a run in Ray tasks and write the metrics next to the results.

    Args:
        output: The output root.
        run_id: A run with results.
        gates: Quality gates such as `ssim >= 0.5`; items that miss one are flagged.
        pool: Settings of the Ray cluster.
        weights: Weight files of external networks, present on every machine.
        on_measured: Called now and then, in this thread.

    Raises:
        FileMissing: there is no such run, or it has no results yet.
        ModelNotFound: a weight file is missing.
        PoolError: Ray cannot be reached.
        RecordError: a table of the run is damaged.
        StorageError: the output cannot be read or written.
        ValueError: a gate cannot be parsed, or its metric is not computed.
    """
    files = RunFiles(StoragePath.parse(output), run_id)
    chosen, nets = list(gates), weights or ExternalWeights()
    check_measured(chosen, nets)
    wanted = [Gate.parse(text) for text in chosen]
    names = parquet.part_names(files.results)
    if not names:
        raise FileMissing(f"{files.results} holds no results; finish the run first")
    totals, plan = Totals(files, chosen, nets), RunPlan(files)
    MetricSuite(nets)  # fails on wrong weight files before the work starts
    if nets.inception:
        ArtInception(nets.inception)
    total = sum(len(results) for name in names for results, _ in _slices(files, plan, name))
    with connected(pool or PoolSpec()) as layout:
        for name in names:
            earlier, made = _earlier_rows(files, name, measurement_name(nets)), list[pa.Table]()
            for results, items in _slices(files, plan, name):
                pairs = list(zip(from_table(results, ItemResult), plan.items(items), strict=True))
                rows = [
                    _flagged(row, wanted)
                    for row in _evaluate_pairs(files, pairs, earlier, nets, layout)
                ]
                totals.add(rows, [item for _, item in pairs])
                made.append(to_table(rows, ItemEvaluation))
                data = parquet.to_bytes(pa.concat_tables(made))
                (files.evaluation / name).write_bytes(data)
                on_measured(totals.items, total)
        summary = totals.summary(layout)
    text = f"{summary.model_dump_json(indent=2)}\n"
    files.evaluation_summary.write_bytes(text.encode())
    return summary


def _slices(files: RunFiles, plan: RunPlan, name: str) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Yield slices of a part's results with an asset, and their planned items."""
    rows = parquet.read_rows_table(files.results / name, ItemResult)
    items = plan.part(name)
    good = pc.equal(rows["status"], "ok")
    rows, items = rows.filter(good), items.filter(good)
    for begin in range(0, len(rows), _SLICE):
        yield rows.slice(begin, _SLICE), items.slice(begin, _SLICE)


def _earlier_rows(files: RunFiles, name: str, measure: str) -> dict[ItemKey, ItemEvaluation]:
    """Return rows of an earlier evaluation with the same metrics."""
    try:
        rows = parquet.read_rows(files.evaluation / name, ItemEvaluation)
    except (FileMissing, RecordError):
        return {}
    return {key_of(row): row for row in rows if row.measure == measure and not row.error}


def _evaluate_pairs(
    files: RunFiles,
    pairs: list[Pair],
    earlier: dict[ItemKey, ItemEvaluation],
    nets: ExternalWeights,
    layout: Layout,
) -> list[ItemEvaluation]:
    """Return one row per pair: an earlier one if its asset is the same, else a new one."""
    rows: list[ItemEvaluation | None] = []
    for result, _ in pairs:
        before = earlier.get(key_of(result))
        same = before is not None and before.asset_sha256 == result.asset_sha256
        rows.append(before if same else None)
    left = [number for number, row in enumerate(rows) if row is None]
    pieces = [left[i : i + _TASK_ITEMS] for i in range(0, len(left), _TASK_ITEMS)]
    for size in (_TASK_ITEMS, 1):  # items whose process died are evaluated one by one
        tasks = [(files.output, nets, [pairs[number] for number in piece]) for piece in pieces]
        again: list[int] = []
        for place, made in map_unordered(evaluate_items, tasks, layout):
            if not isinstance(made, Exception):
                for number, row in zip(pieces[place], made, strict=True):
                    rows[number] = row
            elif size > 1:
                again += pieces[place]
            else:
                result, message = pairs[pieces[place][0]][0], one_line(str(made), 300)
                rows[pieces[place][0]] = failed_evaluation(
                    result, measurement_name(nets), f"its evaluation failed: {message}"
                )
        pieces = [[number] for number in sorted(again)]
    return [row for row in rows if row is not None]


def evaluate_items(task: tuple[StoragePath, ExternalWeights, list[Pair]]) -> list[ItemEvaluation]:
    """Evaluate some items of an output, in a process that keeps its networks for later tasks."""
    output, nets, pairs = task
    return [_evaluator(output, nets).evaluate(result, item) for result, item in pairs]


@lru_cache(1)
def _evaluator(output: StoragePath, nets: ExternalWeights) -> ItemEvaluator:
    return ItemEvaluator(output, nets)


def _flagged(row: ItemEvaluation, gates: list[Gate]) -> ItemEvaluation:
    flags = [violation for gate in gates if (violation := gate.violation(row))]
    return row.model_copy(update={"flags": flags})
