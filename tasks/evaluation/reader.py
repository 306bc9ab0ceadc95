"""Read the evaluation of a run: its summary and the metrics of items. Imports no torch."""

import heapq

import pyarrow as pa
import pyarrow.compute as pc

from schemas.arrow import from_table
from schemas.evaluation import EvaluationSummary, ItemEvaluation
from schemas.result import ItemResult
from tasks.errors import FileMissing, RecordError
from tasks.records import parquet
from tasks.records.item_key import ItemKey, key_of
from tasks.records.layout import RunFiles


def read_summary(files: RunFiles) -> EvaluationSummary | None:
    """Return the summary of a run's evaluation, or None if there is none.

    Raises:
        RecordError: the summary is damaged.
        StorageError: the summary cannot be read.
    """
    try:
        data = files.evaluation_summary.read_bytes()
    except FileMissing:
        return None
    try:
        return EvaluationSummary.model_validate_json(data)
    except ValueError as error:
        raise RecordError(
            f"{files.evaluation_summary} is damaged; {parquet.EVALUATE_REMEDY}"
        ) from error


def flagged_ids(files: RunFiles, most: int) -> set[str]:
    """Return the ids of the first items that miss a quality gate.

    Raises:
        RecordError: a table is damaged.
        StorageError: a table cannot be read.
    """
    found: list[str] = []
    for _, part in parquet.read_parts(files.evaluation, ItemEvaluation, parquet.EVALUATE_REMEDY):
        missed = part.filter(pc.greater(pc.list_value_length(part["flags"]), 0))
        found += missed["item_id"].to_pylist()
        if len(found) >= most:
            break
    return set(found[:most])


def evaluations(files: RunFiles, results: list[ItemResult]) -> dict[ItemKey, ItemEvaluation]:
    """Return the metrics of some results; rows of other assets are left out.

    Raises:
        RecordError: a table is damaged.
        StorageError: a table cannot be read.
    """
    assets = {key_of(row): row.asset_sha256 for row in results}
    ids = pa.array(sorted({key.item_id for key in assets}), pa.string())
    return {
        key_of(row): row
        for _, part in parquet.read_parts(files.evaluation, ItemEvaluation, parquet.EVALUATE_REMEDY)
        for row in from_table(part.filter(pc.is_in(part["item_id"], ids)), ItemEvaluation)
        if assets.get(key_of(row)) == row.asset_sha256
    }


def worst_items(files: RunFiles, most: int) -> list[tuple[ItemEvaluation, str]]:
    """Return the items to check first, each with a reason: flagged ones, then lowest SSIM.

    Raises:
        RecordError: a table is damaged.
        StorageError: a table cannot be read.
    """
    found = (
        row
        for _, part in parquet.read_parts(files.evaluation, ItemEvaluation, parquet.EVALUATE_REMEDY)
        for row in from_table(_candidates(part, most), ItemEvaluation)
    )
    chosen = heapq.nsmallest(most, found, lambda row: (-len(row.flags), row.ssim or 0.0))
    return [(row, f"SSIM {row.ssim:.2f}" if row.ssim is not None else "") for row in chosen]


def _candidates(part: pa.Table, most: int) -> pa.Table:
    """Return the `most` worst rows of a part."""
    part = part.append_column("missed", pc.list_value_length(part["flags"]))
    order = [("missed", "descending"), ("ssim", "ascending")]
    return part.take(pc.sort_indices(part, sort_keys=order)[:most]).drop_columns("missed")
