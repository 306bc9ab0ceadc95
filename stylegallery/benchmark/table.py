"""Markdown tables of a benchmark: means per variant, and differences between methods."""

from collections.abc import Iterable, Sequence

import numpy as np

from schemas.benchmark import BenchmarkRow
from schemas.evaluation import ConfidenceInterval
from stylegallery.benchmark.runner import BenchmarkVariant
from stylegallery.metrics.sets import mean_interval

LOWER = (
    "gram_ratio",
    "regional_gram_ratio",
    "regional_gram_ratio_own",
    "second_style_ratio_own",
    "regional_second_style_ratio_own",
    "texture_difference",
    "hfrd",
    "patch_distance",
    "colour_distance",
    "structure_distance",
)
"""Metrics for which lower values are better."""
HIGHER = ("ssim", "edge_agreement", "sharpness", "text_kept")
"""Metrics for which higher values are better."""
_MIN_PAIRS = 8
"""Number of pairs from which differences are marked; intervals of fewer pairs are too narrow."""


def summary_table(rows: Sequence[BenchmarkRow], frechet: dict[str, ConfidenceInterval]) -> str:
    """Return a Markdown table of means, one row per variant, ± half the 95 % interval.

    Args:
        rows: Rows of all pairs.
        frechet: Fréchet distance of each variant's pictures to their references, by its name.
    """
    names = [*LOWER, *HIGHER]
    head = ["variant", "references", "pairs", *(n.replace("_", " ") for n in names)]
    lines = [_line([*head, "frechet lite0", "seconds"]), "|---" * (len(head) + 2) + "|"]
    for variant, mine in _by_variant(rows):
        cells = [variant.rpartition(", ")[0], str(mine[0].references), str(len(mine))]
        cells += [_mean(mine, name) for name in names]
        interval = frechet.get(variant)
        cells.append(_cell(interval) if interval else "")
        cells.append(f"{np.median([row.seconds for row in mine]):.1f}")
        lines.append(_line(cells))
    return "\n".join(lines)


def comparison_table(rows: Sequence[BenchmarkRow], ours: str = "stylegallery") -> str:
    """Return a Markdown table of the differences between one method and each other variant.

    A cell is the mean difference over the pairs that both have, ± half its 95 % interval; values
    above 0 are better. With eight pairs or more, a cell is bold if the whole interval is better,
    and marked `behind` if the whole interval is worse.

    Args:
        rows: Rows of all pairs.
        ours: Method compared with the others, at the preset `balanced`.
    """
    known = {name for row in rows for name, value in row if value is not None}
    names = [name for name in (*LOWER, *HIGHER) if name in known]
    head = [f"{ours} against", "references", "pairs", *(n.replace("_", " ") for n in names)]
    lines = [_line(head), "|---" * len(head) + "|"]
    mine = {
        (row.pair, row.references): row
        for row in rows
        if row.method == ours and row.preset == "balanced"
    }
    for variant, theirs in _by_variant(rows):
        both = [
            (mine[key], row)
            for row in theirs
            if (key := (row.pair, row.references)) in mine and row is not mine[key]
        ]
        if not both:
            continue
        cells = [variant.rpartition(", ")[0], str(both[0][1].references), str(len(both))]
        lines.append(_line([*cells, *(_gain(both, name) for name in names)]))
    return "\n".join(lines)


def _by_variant(rows: Iterable[BenchmarkRow]) -> list[tuple[str, list[BenchmarkRow]]]:
    found: dict[str, list[BenchmarkRow]] = {}
    for row in rows:
        found.setdefault(BenchmarkVariant(row.method, row.preset, row.references).name, []).append(
            row
        )
    return sorted(found.items(), key=lambda item: item[1][0].references)


def _mean(rows: list[BenchmarkRow], name: str) -> str:
    values = [value for row in rows if (value := getattr(row, name)) is not None]
    if not values:
        return ""
    return _cell(mean_interval(np.array(values)))


def _gain(both: list[tuple[BenchmarkRow, BenchmarkRow]], name: str) -> str:
    sign = -1.0 if name in LOWER else 1.0
    pairs = [(getattr(one, name), getattr(other, name)) for one, other in both]
    gains = [sign * (one - other) for one, other in pairs if one is not None and other is not None]
    if not gains:
        return ""
    interval = mean_interval(np.array(gains))
    text = _cell(interval, "+")
    if len(gains) < _MIN_PAIRS:
        return text
    if interval.low > 0:
        return f"**{text}**"
    return f"{text} behind" if interval.high < 0 else text


def _cell(interval: ConfidenceInterval, sign: str = "") -> str:
    return f"{interval.value:{sign}.3f} ± {(interval.high - interval.low) / 2:.3f}"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
