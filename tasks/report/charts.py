"""Histograms of metrics over the items of a run, for the report's charts."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.evaluation import EvaluationSummary, ItemEvaluation, ItemMetrics
from schemas.result import MatchRow
from tasks.records import parquet
from tasks.records.layout import RunFiles

_MIN_BINS, _MAX_BINS = 6, 24
_NAMES = {
    "ssim": "SSIM",
    "ms_ssim": "MS-SSIM",
    "lpips": "LPIPS",
    "csd": "CSD",
    "cfsd": "CFSD",
    "hfrd": "HFRD",
}
_TAILS = 0.5, 99.5
"""Percentiles at the ends of a histogram; values outside count in the first or the last bin."""


@dataclass(frozen=True)
class Chart:
    """A histogram of one metric.

    Attributes:
        name: Name of the metric.
        meaning: Its description.
        mean: Mean of all values.
        interval: Confidence interval of the mean as text; empty if unknown.
        low: Lower end of the first bin.
        high: Upper end of the last bin.
        bars: Heights of the bins, 0 to 1.
        count: Number of values.
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
    """Return the charts of a run: the similarity of matched regions, then each metric.

    Raises:
        RecordError: a table is damaged.
        StorageError: a table cannot be read.
    """
    similarity = _column(parquet.read_parts(files.matches, MatchRow), "similarity")
    meaning = MatchRow.model_fields["similarity"].description or ""
    found = [
        _chart("similarity of matched regions", f"{meaning} One value per region.", similarity)
    ]
    for name in summary.figures if summary else ():
        values = _column(
            parquet.read_parts(files.evaluation, ItemEvaluation, parquet.EVALUATE_REMEDY), name
        )
        span = summary.figures[name] if summary else None
        interval = f"{span.low:.3f} to {span.high:.3f}" if span else ""
        description = ItemMetrics.model_fields[name].description or ""
        found.append(_chart(label(name), description, values, interval))
    return [chart for chart in found if chart is not None]


def label(name: str) -> str:
    """Return the display name of a metric."""
    return _NAMES.get(name, name.replace("_", " "))


def _column(parts: Iterator[tuple[str, pa.Table]], name: str) -> NDArray[np.float32]:
    """Return the values of a column in all parts, without nulls."""
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
    bins = min(max(round(2 * len(values) ** 0.5), _MIN_BINS), _MAX_BINS)
    counts, _ = np.histogram(values.clip(low, high), bins, (low, high))
    bars = (counts / counts.max()).tolist()
    return Chart(name, meaning, float(values.mean()), interval, low, high, bars, len(values))
