"""What an evaluation left of a run: the summary, and the rows of items and charts.

Light: whoever only looks at figures needs no torch.
"""

import heapq

import pyarrow as pa
import pyarrow.compute as pc

from schemas.arrow import from_table
from schemas.evaluation import EvaluationSummary, ItemEvaluation
from schemas.result import ItemResult
from tasks import storage, tables
from tasks.errors import FileMissing, RecordError
from tasks.keys import ItemKey, key_of
from tasks.run_files import RunFiles


def read_summary(files: RunFiles) -> EvaluationSummary | None:
    """Return what a run's evaluation came to, None where there is none.

    Raises:
        RecordError: it is damaged.
        StorageError: it cannot be read.
    """
    try:
        data = storage.read_bytes(files.evaluation_summary)
    except FileMissing:
        return None
    try:
        return EvaluationSummary.model_validate_json(data)
    except ValueError as error:
        raise RecordError(f"{files.evaluation_summary} is damaged; {tables.JUDGED}") from error


def flagged_ids(files: RunFiles, most: int) -> set[str]:
    """Return the ids of the first items that miss a quality gate.

    Raises:
        RecordError: a table is damaged.
        StorageError: a table cannot be read.
    """
    found: list[str] = []
    for _, part in tables.read_parts(files.evaluation, ItemEvaluation, tables.JUDGED):
        missed = part.filter(pc.greater(pc.list_value_length(part["flags"]), 0))
        found += missed["item_id"].to_pylist()
        if len(found) >= most:
            break
    return set(found[:most])


def evaluations(files: RunFiles, results: list[ItemResult]) -> dict[ItemKey, ItemEvaluation]:
    """Return the figures of some results, as far as they are of the assets that stand.

    Raises:
        RecordError: a table is damaged.
        StorageError: a table cannot be read.
    """
    assets = {key_of(row): row.asset_sha256 for row in results}
    ids = pa.array(sorted({key.item_id for key in assets}), pa.string())
    return {
        key_of(row): row
        for _, part in tables.read_parts(files.evaluation, ItemEvaluation, tables.JUDGED)
        for row in from_table(part.filter(pc.is_in(part["item_id"], ids)), ItemEvaluation)
        if assets.get(key_of(row)) == row.asset_sha256
    }


def worst(files: RunFiles, most: int) -> list[tuple[ItemEvaluation, str]]:
    """Return the items to look at first, each with why: flagged ones, then those least kept.

    Raises:
        RecordError: a table is damaged.
        StorageError: a table cannot be read.
    """
    found = (
        row
        for _, part in tables.read_parts(files.evaluation, ItemEvaluation, tables.JUDGED)
        for row in from_table(_suspects(part, most), ItemEvaluation)
    )
    chosen = heapq.nsmallest(most, found, lambda row: (-len(row.flags), row.ssim or 0.0))
    return [(row, f"SSIM {row.ssim:.2f}" if row.ssim is not None else "") for row in chosen]


def _suspects(part: pa.Table, most: int) -> pa.Table:
    """Return the few rows of a part that may be among the worst of all."""
    part = part.append_column("missed", pc.list_value_length(part["flags"]))
    order = [("missed", "descending"), ("ssim", "ascending")]
    return part.take(pc.sort_indices(part, sort_keys=order)[:most]).drop_columns("missed")
