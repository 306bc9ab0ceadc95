"""How figures are spread over a run's items: the bars of the report's small charts."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.evaluation import EvaluationSummary, ItemEvaluation, ItemFigures
from schemas.result import MatchRow
from tasks import tables
from tasks.run_files import RunFiles

_FEWEST_BINS, _MOST_BINS = 6, 24
_NAMES = {"ssim": "SSIM", "ms_ssim": "MS-SSIM", "lpips": "LPIPS", "csd": "CSD"}
_TAILS = 0.5, 99.5
"""Percent between which bars stand; what lies outside counts to the first and the last."""


@dataclass(frozen=True)
class Chart:
    """One small chart.

    Attributes:
        name: Of the figure.
        meaning: What it is, in a sentence.
        mean: Of all values.
        interval: Of the mean, as text; empty where it is not known.
        low: Where the first bar begins.
        high: Where the last bar ends.
        bars: Heights, 0 to 1.
        count: How many values there are.
    """

    name: str
    meaning: str
    mean: float
    interval: str
    low: float
    high: float
    bars: list[float]
    count: int


def charts(files: RunFiles, summary: EvaluationSummary | None) -> list[Chart]:
    """Return the charts of a run: how similar matched regions are, then each figure measured.

    Raises:
        RecordError: a table is damaged.
        StorageError: a table cannot be read.
    """
    similarity = _column(tables.read_parts(files.matches, MatchRow), "similarity")
    meaning = MatchRow.model_fields["similarity"].description or ""
    found = [_chart("similarity of matched regions", f"{meaning} One value a region.", similarity)]
    for name in summary.figures if summary else ():
        values = _column(tables.read_parts(files.evaluation, ItemEvaluation, tables.JUDGED), name)
        span = summary.figures[name] if summary else None
        interval = f"{span.low:.3f} to {span.high:.3f}" if span else ""
        told = ItemFigures.model_fields[name].description or ""
        found.append(_chart(label(name), told, values, interval))
    return [chart for chart in found if chart is not None]


def label(name: str) -> str:
    """Write the name of a figure as people do."""
    return _NAMES.get(name, name.replace("_", " "))


def _column(parts: Iterator[tuple[str, pa.Table]], name: str) -> NDArray[np.float32]:
    """Return a column of all parts without its nulls."""
    pieces = [part[name].drop_null().to_numpy().astype(np.float32) for _, part in parts]
    return np.concatenate(pieces) if pieces else np.empty(0, np.float32)


def _chart(
    name: str, meaning: str, values: NDArray[np.float32], interval: str = ""
) -> Chart | None:
    if not len(values):
        return None
    low, high = np.percentile(values, _TAILS).tolist()
    if high - low < 1e-6:
        low, high = low - 0.5, high + 0.5
    bins = min(max(round(2 * len(values) ** 0.5), _FEWEST_BINS), _MOST_BINS)
    counts, _ = np.histogram(values.clip(low, high), bins, (low, high))
    bars = (counts / counts.max()).tolist()
    return Chart(name, meaning, float(values.mean()), interval, low, high, bars, len(values))
