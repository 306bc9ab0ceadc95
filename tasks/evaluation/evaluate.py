"""The figures of a run's results: a part of rows beside each part of results, and what they say.

Doing it again measures only what has changed since.
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
from tasks import storage
from tasks.cluster.parallel import spread
from tasks.cluster.session import Layout, connected
from tasks.errors import FileMissing, RecordError
from tasks.evaluation.item import ItemEvaluator, measure_of, unmeasured
from tasks.evaluation.totals import Totals
from tasks.records import parquet
from tasks.records.item_key import ItemKey, key_of
from tasks.records.layout import RunFiles
from tasks.records.plan_parts import RunPlan

OnMeasured = Callable[[int, int], None]
"""Told how many items are measured, and of how many."""

Pair = tuple[ItemResult, WorkItem]

_SLICE, _PIECE = 1_000, 16
"""Items that are written down together, and those that one process measures in one go."""


def evaluate(
    output: str,
    run_id: str,
    gates: Iterable[str] = (),
    pool: PoolSpec | None = None,
    weights: ExternalWeights | None = None,
    on_measured: OnMeasured = lambda _done, _total: None,
) -> EvaluationSummary:
    """Measure the results of a run by tasks on Ray, and write them down beside the results.

    Args:
        output: Root of the outputs.
        run_id: A run whose results are written.
        gates: What results are to keep, such as `ssim >= 0.5`; those outside are flagged.
        pool: Where Ray runs.
        weights: Weight files of external networks, on every machine.
        on_measured: Called in this thread, now and then.

    Raises:
        FileMissing: there is no such run, or its results are not written yet.
        ModelNotFound: the weights of an external network are missing.
        PoolError: Ray cannot be reached.
        RecordError: a table of the run is damaged.
        StorageError: the output cannot be read or written.
        ValueError: a gate is none, or its figure is not measured.
    """
    files = RunFiles(storage.absolute(output), run_id)
    chosen, nets = list(gates), weights or ExternalWeights()
    check_measured(chosen, nets)
    wanted = [Gate.parse(text) for text in chosen]
    names = parquet.part_names(files.results)
    if not names:
        raise FileMissing(f"{files.results} holds no results; finish the run first")
    totals, plan = Totals(files, chosen, nets), RunPlan(files)
    MetricSuite(nets)  # what is no such network shows before the work
    if nets.inception:
        ArtInception(nets.inception)
    total = sum(len(results) for name in names for results, _ in _slices(files, plan, name))
    with connected(pool or PoolSpec()) as layout:
        for name in names:
            former, made = _former(files, name, measure_of(nets)), list[pa.Table]()
            for results, items in _slices(files, plan, name):
                pairs = list(zip(from_table(results, ItemResult), plan.items(items), strict=True))
                rows = [
                    _flagged(row, wanted) for row in _measure(files, pairs, former, nets, layout)
                ]
                totals.add(rows, [item for _, item in pairs])
                made.append(to_table(rows, ItemEvaluation))
                place = storage.join(files.evaluation, name)
                storage.write_bytes(place, parquet.to_bytes(pa.concat_tables(made)))
                on_measured(totals.items, total)
        summary = totals.summary(layout)
    text = f"{summary.model_dump_json(indent=2)}\n"
    storage.write_bytes(files.evaluation_summary, text.encode())
    return summary


def _slices(files: RunFiles, plan: RunPlan, name: str) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Yield the results of a part that have an asset, and their items, some at a time."""
    rows = parquet.read_rows_table(storage.join(files.results, name), ItemResult)
    items = plan.part(name)
    good = pc.equal(rows["status"], "ok")
    rows, items = rows.filter(good), items.filter(good)
    for begin in range(0, len(rows), _SLICE):
        yield rows.slice(begin, _SLICE), items.slice(begin, _SLICE)


def _former(files: RunFiles, name: str, measure: str) -> dict[ItemKey, ItemEvaluation]:
    """Return the rows of an evaluation before this one that may still hold."""
    try:
        rows = parquet.read_rows(storage.join(files.evaluation, name), ItemEvaluation)
    except (FileMissing, RecordError):
        return {}
    return {key_of(row): row for row in rows if row.measure == measure and not row.error}


def _measure(
    files: RunFiles,
    pairs: list[Pair],
    former: dict[ItemKey, ItemEvaluation],
    nets: ExternalWeights,
    layout: Layout,
) -> list[ItemEvaluation]:
    rows: list[ItemEvaluation | None] = []
    for result, _ in pairs:
        before = former.get(key_of(result))
        same = before is not None and before.asset_sha256 == result.asset_sha256
        rows.append(before if same else None)
    left = [number for number, row in enumerate(rows) if row is None]
    pieces = [left[i : i + _PIECE] for i in range(0, len(left), _PIECE)]
    for size in (_PIECE, 1):  # what ends its process is then measured by itself
        jobs = [(files.output, nets, [pairs[number] for number in piece]) for piece in pieces]
        again: list[int] = []
        for place, made in spread(examine, jobs, layout):
            if not isinstance(made, Exception):
                for number, row in zip(pieces[place], made, strict=True):
                    rows[number] = row
            elif size > 1:
                again += pieces[place]
            else:
                result, told = pairs[pieces[place][0]][0], one_line(str(made), 300)
                rows[pieces[place][0]] = unmeasured(
                    result, measure_of(nets), f"measuring it failed: {told}"
                )
        pieces = [[number] for number in sorted(again)]
    return [row for row in rows if row is not None]


def examine(job: tuple[str, ExternalWeights, list[Pair]]) -> list[ItemEvaluation]:
    """Measure some items of an output, in a process that keeps its networks for the next."""
    output, nets, pairs = job
    return [_evaluator(output, nets).evaluate(result, item) for result, item in pairs]


@lru_cache(1)
def _evaluator(output: str, nets: ExternalWeights) -> ItemEvaluator:
    return ItemEvaluator(output, nets)


def _flagged(row: ItemEvaluation, gates: list[Gate]) -> ItemEvaluation:
    flags = [violation for gate in gates if (violation := gate.violation(row))]
    return row.model_copy(update={"flags": flags})
